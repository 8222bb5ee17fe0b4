const typing = (at: EventTarget | null): boolean => at instanceof Element && !!at.closest('input:not([type="checkbox"]), select, textarea, dialog, [contenteditable]');

/** In a list: j and k go through what is marked `data-row`, x picks the row, / goes to the search; Enter is the row's own. */
export function listKeys(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.querySelector('dialog[open]')) return;
  const rows = [...document.querySelectorAll<HTMLElement>('[data-row]')];
  const here = document.activeElement as HTMLElement;
  const row = here.matches('[data-row]') ? here : here.closest('tr')?.querySelector<HTMLElement>('[data-row]');
  const at = row ? rows.indexOf(row) : -1;
  if (event.key === '/') document.querySelector<HTMLElement>('[aria-keyshortcuts="/"]')?.focus();
  else if (event.key === 'j') rows[Math.min(rows.length - 1, at + 1)]?.focus();
  else if (event.key === 'k') rows[Math.max(0, at - 1)]?.focus();
  else if (event.key === 'x') row?.closest('tr')?.querySelector<HTMLElement>('input[type="checkbox"]')?.click();
  else return;
  event.preventDefault();
}
