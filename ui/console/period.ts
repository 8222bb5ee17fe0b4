const moment = (day: string | null, time: string): string | undefined => {
  const at = new Date(`${day ?? ''}T${time}`);
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
};

/** The days `since` and `until` of an address, both whole, as moments of this browser's time zone. */
export function period(query: URLSearchParams): { since?: string; until?: string } {
  const since = moment(query.get('since'), '00:00:00');
  const until = moment(query.get('until'), '23:59:59.999');
  return { ...(since && { since }), ...(until && { until }) };
}
