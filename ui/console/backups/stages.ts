/** What a restore goes through, in order; each has several steps. */
export const STAGES = ['aside', 'safety', 'swap'] as const;
const STEPS: Record<string, number> = { copy: 1, pack: 1, swap: 2 };

export const stageOf = (step: string): number => STEPS[step] ?? 0;
