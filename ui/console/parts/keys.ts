const typing = (at: EventTarget | null): boolean => at instanceof Element && !!at.closest('input, select, textarea, dialog, [contenteditable]');

/** In a list: j and k go through what is marked `data-row`, / goes to the search; Enter is the row's own. */
export function listKeys(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.querySelector('dialog[open]')) return;
  const rows = [...document.querySelectorAll<HTMLElement>('[data-row]')];
  const at = rows.indexOf(document.activeElement as HTMLElement);
  if (event.key === '/') document.querySelector<HTMLElement>('[aria-keyshortcuts="/"]')?.focus();
  else if (event.key === 'j') rows[Math.min(rows.length - 1, at + 1)]?.focus();
  else if (event.key === 'k') rows[Math.max(0, at - 1)]?.focus();
  else return;
  event.preventDefault();
}
