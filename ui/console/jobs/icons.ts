import { Ban, Play, RotateCw, Trash2, type IconNode } from 'lucide';
import type { JobAction } from '../types';

export const actionIcons: Record<JobAction, IconNode> = { retry: RotateCw, cancel: Ban, discard: Trash2, run: Play };
