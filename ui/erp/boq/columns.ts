import type { Key } from '../../lib/i18n.svelte';
import type { Editable } from '../types';

export type ColumnId = 'code' | 'description' | 'section' | 'unit' | 'total' | Editable;

export interface Column {
  id: ColumnId;
  label: Key;
  width: string;
  least: number;
  sort: string | null;
  edits: Editable | null;
  number: boolean;
}

const column = (id: ColumnId, label: Key, width: string, least: number, sort: boolean, edits = false, number = false): Column => ({
  id,
  label,
  width,
  least,
  sort: sort ? id : null,
  edits: edits ? (id as Editable) : null,
  number,
});

/** The columns this person may see, in reading order. */
export function columnsFor(permissions: readonly string[], withSection: boolean): Column[] {
  const priced = permissions.includes('boq.prices');
  const edits = permissions.includes('boq.edit');
  const progress = permissions.includes('progress.enter');
  return [
    column('code', 'column.code', '116px', 116, true),
    column('description', 'column.description', 'minmax(240px, 1fr)', 240, true),
    ...(withSection ? [column('section', 'column.section', '180px', 180, false)] : []),
    column('unit', 'column.unit', '76px', 76, false),
    column('quantity', 'column.quantity', '116px', 116, true, edits, true),
    ...(priced ? [column('unit_price', 'column.unit_price', '116px', 116, true, edits, true), column('total', 'column.total', '144px', 144, true, false, true)] : []),
    column('progress', 'column.progress', '136px', 136, true, progress, true),
  ];
}
