import { Session } from '../lib/session.svelte';
import { root, to } from './paths';

export const session = new Session('/_rakiza/api', root, to('sign-in'));
