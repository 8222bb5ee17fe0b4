import { maybe } from '../lib/i18n.svelte';

/** The name of a health check in the page's language, or as its room gave it. */
export const checkName = (name: string): string => maybe(`console.check.${name}`, name);

/** A route as people read it: the pass has no route for what matched none. */
export const routeName = (route: string): string => (route === 'unmatched' ? maybe('console.unmatched', route) : route);
