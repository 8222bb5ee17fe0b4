import type { Section } from '../types';

export interface Group {
  section: Section;
  row: number;
  first: number;
  folded: boolean;
}

export type Row = { kind: 'group'; group: Group } | { kind: 'item'; index: number };

/** Which grid row shows which item: the items in order, with a heading row before each section when there are sections. */
export class Layout {
  readonly rows: number;
  readonly groups: Group[] = [];

  constructor(
    sections: Section[],
    readonly total: number,
    folded: ReadonlySet<number> = new Set(),
  ) {
    let row = 0;
    let first = 0;
    for (const section of sections) {
      if (section.items_count === 0) continue;
      const group = { section, row, first, folded: folded.has(section.id) };
      this.groups.push(group);
      first += section.items_count;
      row += 1 + (group.folded ? 0 : section.items_count);
    }
    this.rows = this.groups.length ? row : total;
  }

  /** The last group that begins at or before the row. */
  groupAt(row: number): Group | undefined {
    let low = 0;
    let high = this.groups.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.groups[middle] as Group).row <= row) low = middle;
      else high = middle - 1;
    }
    return this.groups[low];
  }

  at(row: number): Row {
    const group = this.groupAt(row);
    if (!group) return { kind: 'item', index: row };
    return group.row === row ? { kind: 'group', group } : { kind: 'item', index: group.first + row - group.row - 1 };
  }

  /** The row of an item; of its heading when the section is folded. */
  rowOf(index: number): number {
    const group = this.groups.findLast((candidate) => candidate.first <= index);
    if (!group) return index;
    return group.folded ? group.row : group.row + 1 + index - group.first;
  }

  after(group: Group): Group | undefined {
    return this.groups[this.groups.indexOf(group) + 1];
  }

  /** Whether an item at this place may belong to this section: sections can lie scattered, then headings would lie. */
  agrees(index: number, section: number | null): boolean {
    if (!this.groups.length) return true;
    const group = this.groups.findLast((candidate) => candidate.first <= index);
    return group?.section.id === section;
  }
}
