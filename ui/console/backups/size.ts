import type { BackupLine } from '../types';

/** The bytes of a backup: the API tells them in MB of 1024² bytes. */
export const sizeOf = (one: Pick<BackupLine, 'size_mb'>): number => one.size_mb * 1024 * 1024;
