import type { StackFrame } from '../types';

export type Piece = { open: true; frame: StackFrame } | { open: false; frames: StackFrame[] };

/** The frames in their order: those of the application open, runs of others folded; the last is open where none is the application's. */
export function pieces(frames: StackFrame[]): Piece[] {
  const own = frames.some((frame) => frame.in_app);
  const found: Piece[] = [];
  frames.forEach((frame, at) => {
    const last = found.at(-1);
    if (frame.in_app || (!own && at === frames.length - 1)) found.push({ open: true, frame });
    else if (last && !last.open) last.frames.push(frame);
    else found.push({ open: false, frames: [frame] });
  });
  return found;
}

/** What an operator may make of an error in this state. */
export function choices(state: string): ('resolved' | 'ignored' | 'open')[] {
  return state === 'resolved' || state === 'ignored' ? ['open'] : ['resolved', 'ignored'];
}
