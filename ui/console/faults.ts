import type { ApiError } from '../lib/api';
import { either, t } from '../lib/i18n.svelte';

/** The server's words for the fields of a form, with its reason and hint; what belongs to none of `names` is said at `whole`. */
export function faultsOf(error: ApiError, whole: string, names: readonly string[]): Record<string, string | null> {
  const { texts, body } = error;
  const found = error.errors.length || error.status !== 422 ? error.errors : [{ ...texts, field: whole }];
  return Object.fromEntries(
    found.map((one) => {
      const [first = '', ...rest] = (one.field ?? '').split('.');
      const name = names.includes(first) ? first : whole;
      const inside = name === first ? rest.join('.') : (one.field ?? '');
      const words = either(one, t('fault.unknown'));
      // The reasons and hints of the server are English: isolated, they keep their own direction.
      const more = [one.message_en === words ? null : one.message_en, body.hint].filter(Boolean).map((text) => ` · \u2068${text}\u2069`);
      return [name, (words.includes(inside) ? words : `${inside}: ${words}`) + more.join('')];
    }),
  );
}
