import { asApiError, type ApiError } from '../../lib/api';
import * as api from '../api';
import type { Editable, Item } from '../types';
import type { Items } from './store.svelte';

export interface Conflict {
  field: Editable;
  mine: string;
  before: string;
  current: Item;
}

interface Step {
  id: number;
  field: Editable;
  before: string;
  code: string;
}

export const LIMITS: Record<Editable, { decimals: number; most?: number }> = {
  quantity: { decimals: 6 },
  unit_price: { decimals: 4 },
  progress: { decimals: 2, most: 100 },
};

const KEPT_STEPS = 50;
const key = (id: number, field: Editable): string => `${id}.${field}`;

/** Writes single values with the version that was read, one after the other per item; remembers what to undo and what failed. */
export class Editor {
  drafts = $state.raw<ReadonlyMap<string, string>>(new Map());
  failures = $state.raw<ReadonlyMap<string, ApiError>>(new Map());
  conflict = $state.raw<Conflict | null>(null);
  steps = $state.raw<readonly Step[]>([]);
  savedAt = $state.raw<Date | null>(null);
  #queues = new Map<number, Promise<void>>();

  constructor(
    readonly code: string,
    readonly items: () => Items,
    readonly onsaved: () => void,
  ) {}

  draft(id: number, field: Editable): string | undefined {
    return this.drafts.get(key(id, field));
  }

  failure(id: number, field: Editable): ApiError | undefined {
    return this.failures.get(key(id, field));
  }

  get saving(): number {
    return this.drafts.size - this.failures.size;
  }

  /** Write one value; edits of the same item wait for each other so that each carries the version before it. */
  save(item: Item, field: Editable, value: string, undoing = false): Promise<void> {
    this.#mark(item.id, field, value);
    const before = this.#queues.get(item.id) ?? Promise.resolve();
    const next = before.then(() => this.#send(item, field, value, undoing));
    this.#queues.set(item.id, next);
    return next;
  }

  undo(): void {
    const step = this.steps.at(-1);
    if (!step) return;
    this.steps = this.steps.slice(0, -1);
    const item = this.items().byId(step.id);
    if (item) void this.save(item, step.field, step.before, true);
    else void this.#undoUnseen(step);
  }

  resolve(mine: boolean): void {
    const conflict = this.conflict;
    if (!conflict) return;
    this.conflict = null;
    this.items().replace(conflict.current);
    if (mine) void this.save(conflict.current, conflict.field, conflict.mine);
    else this.#clear(conflict.current.id, conflict.field);
  }

  discard(id: number, field: Editable): void {
    this.#clear(id, field);
  }

  async #undoUnseen(step: Step): Promise<void> {
    try {
      const page = await api.items(this.code, { q: step.code, section: '', sort: 'position' }, 0, 500);
      const item = page.items.find((candidate) => candidate.id === step.id);
      if (item) await this.save(item, step.field, step.before, true);
    } catch (error) {
      this.#fail(step.id, step.field, asApiError(error));
      this.steps = [...this.steps, step];
    }
  }

  async #send(item: Item, field: Editable, value: string, undoing: boolean): Promise<void> {
    const known = this.items().byId(item.id) ?? item;
    const before = known[field] ?? '';
    try {
      const fresh = await api.updateItem(this.code, item.id, known.version, { [field]: value });
      this.items().replace(fresh);
      this.#clear(item.id, field);
      if (!undoing) this.steps = [...this.steps.slice(1 - KEPT_STEPS), { id: item.id, field, before, code: item.code }];
      this.savedAt = new Date();
      this.onsaved();
    } catch (caught) {
      const error = asApiError(caught);
      if (error.status === 409 && error.body.current) this.conflict = { field, mine: value, before, current: error.body.current as Item };
      else this.#fail(item.id, field, error);
    }
  }

  #fail(id: number, field: Editable, error: ApiError): void {
    this.failures = new Map(this.failures).set(key(id, field), error);
  }

  #mark(id: number, field: Editable, value: string): void {
    this.#clear(id, field);
    this.drafts = new Map(this.drafts).set(key(id, field), value);
  }

  #clear(id: number, field: Editable): void {
    const drafts = new Map(this.drafts);
    const failures = new Map(this.failures);
    drafts.delete(key(id, field));
    failures.delete(key(id, field));
    this.drafts = drafts;
    this.failures = failures;
  }
}
