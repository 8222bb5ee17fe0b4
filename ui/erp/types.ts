import type { Finding } from '../lib/api';

export interface Project {
  code: string;
  name: string;
  name_en: string | null;
  client: string | null;
  start_date: string | null;
  finish_date: string | null;
  currency: string;
  vat_rate: string;
  version: number;
  items_count: number;
  total_cost: string | null;
  progress: string;
  role: string;
  permissions: string[];
  created_at: string;
  updated_at: string;
}

export interface Page<T> {
  items: T[];
  next_cursor: string | null;
  total: number;
}

export interface Item {
  id: number;
  position: number;
  code: string;
  description: string;
  section: number | null;
  unit: string;
  unit_code: string | null;
  quantity: string;
  unit_price: string | null;
  total: string | null;
  progress: string;
  earned: string | null;
  note: string | null;
  rate_only: boolean;
  version: number;
}

export interface Section {
  id: number;
  position: number;
  title: string;
  items_count: number;
  total_cost: string | null;
  progress: string;
  earned_total: string | null;
}

export interface Summary {
  total_cost: string | null;
  items_count: number;
  progress: string;
  vat_rate: string;
  vat_total: string | null;
  gross_total: string | null;
  earned_total: string | null;
  currency: string;
  sections: Section[];
  last_import: { file: string; at: string; by: string } | null;
}

export type FindingList = 'differences' | 'ignored_rows' | 'warnings' | 'errors';

export interface Report {
  file: string;
  sheet: string;
  layout: string;
  written: boolean;
  unchanged: boolean;
  items: number;
  sections: number;
  net_total: string;
  vat_rate: string;
  vat_total: string;
  gross_total: string;
  stated_total: string | null;
  differences: Finding[];
  ignored_rows: Finding[];
  warnings: Finding[];
  errors: Finding[];
  counts: Record<FindingList, number>;
  columns: { field: string; header: string; column: string }[];
  section_list: { title: string; items: number; total: string }[];
  changes: { added: number; changed: number; removed: number; unchanged: number };
}

/** How far an import in the background is; at the end `report`, or `problem` (as an error answers) when there is none. */
export interface ImportState {
  job_id: number;
  file: string;
  dry_run: boolean;
  state: 'ready' | 'running' | 'retry' | 'done' | 'failed' | 'cancelled';
  progress: number | null;
  progress_text_en: string | null;
  progress_text_ar: string | null;
  report: Report | null;
  problem: ({ status: number } & Record<string, unknown>) | null;
}

export type Editable = 'quantity' | 'unit_price' | 'progress';

export interface HistoryChange {
  field: string;
  /** Null before the item was there, and for prices that this person may not see. */
  from: string | null;
  to: string | null;
}

export interface History {
  item: { id: number; code: string; description: string };
  /** The newest first. */
  entries: { version: number; at: string; by: string; action: 'changed' | 'imported'; source: string | null; changes: HistoryChange[] }[];
}

export interface ProjectInput {
  code?: string;
  name: string;
  name_en: string | null;
  client: string | null;
  start_date: string | null;
  finish_date: string | null;
  currency: string;
  vat_rate: string;
}
