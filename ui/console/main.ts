import { mount } from 'svelte';
import '../lib/tokens.css';
import '../lib/fonts.css';
import '../lib/base.css';
import './console.css';
import { loadMessages } from '../lib/i18n.svelte';
import { prefs } from '../lib/prefs.svelte';
import { router } from '../lib/router.svelte';
import App from './App.svelte';
import { pages, route } from './pages';
import { root } from './paths';

router.base = root;
const first = route(location.pathname).page;
if (first) pages[first]().catch(() => undefined); // fetched beside the messages; a failure shows where the page is rendered

await loadMessages(prefs.lang);
mount(App, { target: document.getElementById('app') as HTMLElement });
