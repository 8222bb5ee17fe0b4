import type { Alerts, ErrorPage, HealthReport, HostHealth, Runtime } from '../types';

export type Tone = 'ok' | 'warn' | 'bad';

export interface Seen {
  host?: HostHealth | undefined;
  alerts?: Alerts | undefined;
  health?: HealthReport | undefined;
  errors?: ErrorPage | undefined;
  runtime?: Runtime | undefined;
}

export type Reason =
  | { kind: 'draining'; tone: Tone }
  | { kind: 'health'; tone: Tone }
  | { kind: 'alert'; tone: Tone; since: string; message_en: string; message_ar: string }
  | { kind: 'check'; tone: Tone; name: string; required: boolean; output: string }
  | { kind: 'host'; tone: Tone; text: string }
  | { kind: 'regressed'; tone: Tone; count: number };

export interface Verdict {
  tone: Tone;
  since: string | null;
  reasons: Reason[];
}

const WEIGHT: Record<Tone, number> = { ok: 0, warn: 1, bad: 2 };
const earliest = (times: string[]): string | null => times.reduce<string | null>((least, time) => (least === null || Date.parse(time) < Date.parse(least) ? time : least), null);
const latest = (times: string[]): string | null => times.reduce<string | null>((most, time) => (most === null || Date.parse(time) > Date.parse(most) ? time : most), null);

function found(seen: Seen): Reason[] {
  const reasons: Reason[] = [];
  if (seen.health?.draining) reasons.push({ kind: 'draining', tone: 'bad' });
  for (const alert of seen.alerts?.active ?? []) reasons.push({ kind: 'alert', tone: alert.level === 'critical' ? 'bad' : 'warn', since: alert.since, message_en: alert.message_en, message_ar: alert.message_ar });
  for (const [name, [check]] of Object.entries(seen.health?.checks ?? {})) {
    if (check && check.status !== 'pass') reasons.push({ kind: 'check', tone: check.status === 'fail' && check.required ? 'bad' : 'warn', name, required: check.required, output: check.output ?? '' });
  }
  if (seen.health && !seen.health.checks && seen.health.status !== 'pass' && !seen.health.draining) reasons.push({ kind: 'health', tone: seen.health.status === 'fail' ? 'bad' : 'warn' });
  if (seen.host && seen.host.status !== 'healthy' && !seen.alerts?.active.length) {
    // A single sample is no fault yet: alerts, where they are, tell what lasts.
    for (const text of seen.host.warnings) reasons.push({ kind: 'host', tone: seen.host.status === 'critical' && !seen.alerts ? 'bad' : 'warn', text });
  }
  if (seen.errors?.counts.regressed) reasons.push({ kind: 'regressed', tone: 'warn', count: seen.errors.counts.regressed });
  return reasons.sort((a, b) => WEIGHT[b.tone] - WEIGHT[a.tone]);
}

/** The one thing the page says: how the system is, since when where that is known, and what is wrong, the worst first. */
export function judge(seen: Seen): Verdict {
  const reasons = found(seen);
  const tone = reasons[0]?.tone ?? 'ok';
  const alerts = reasons.flatMap((reason) => (reason.kind === 'alert' ? [reason.since] : []));
  const well = [...(seen.alerts?.recent.flatMap((alert) => (alert.ended ? [alert.ended] : [])) ?? []), ...(seen.runtime ? [seen.runtime.started_at] : [])];
  return { tone, since: tone === 'ok' ? latest(well) : earliest(alerts), reasons };
}
