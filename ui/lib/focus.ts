import { tick } from 'svelte';

/** After a refused submit: put the focus into the first field that is marked invalid. */
export async function focusFault(form: HTMLElement | null): Promise<void> {
  await tick();
  form?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
}
