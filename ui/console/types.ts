/** The shapes of the operator API; times are ISO 8601 with offset unless said. */

export interface Cursored<T> {
  items: T[];
  next_cursor: string | null;
}

// -- monitoring

export type Level = 'healthy' | 'warning' | 'critical';

export interface HostHealth {
  status: Level;
  timestamp: string;
  metrics: { cpu_percent: number; ram_percent: number; disk_percent: number };
  warnings: string[];
}

export interface HostMetrics {
  timestamp: string;
  cpu_percent: number;
  cpu_count: number;
  ram_total_gb: number;
  ram_used_gb: number;
  ram_percent: number;
  disk_total_gb: number;
  disk_used_gb: number;
  disk_percent: number;
}

export interface Process {
  pid: number;
  name: string;
  cpu_percent: number;
  memory_mb: number;
  status: string;
}

export const RANGES = ['1h', '6h', '24h', '7d', '30d', '1y'] as const;
export type Range = (typeof RANGES)[number];

export type SeriesName = 'cpu' | 'ram' | 'disk' | 'net_sent' | 'net_recv' | 'disk_read' | 'disk_write' | 'requests' | 'errors' | 'p50' | 'p95' | 'p99' | 'loop_lag';

export interface History {
  /** Seconds since 1970. */
  t: number[];
  series: Record<SeriesName, (number | null)[]>;
}

export interface RouteFigures {
  method: string;
  route: string;
  count: number;
  errors: number;
  mean_ms: number;
  p50_ms: number;
  p95_ms: number;
  p99_ms: number;
  /** Percent of the time of all requests. */
  share: number;
}

export interface RequestFigures {
  total: number;
  rate: number;
  errors: number;
  /** Percent. */
  error_rate: number;
  p50_ms: number | null;
  p95_ms: number | null;
  p99_ms: number | null;
  routes: RouteFigures[];
}

/** What was seen many times, and the trace of the last. */
export interface Sighted {
  count: number;
  last_at: string;
  trace_id: string | null;
}

export interface Timed extends Sighted {
  max_ms: number;
  mean_ms: number;
}

export interface SlowRequest extends Timed {
  method: string;
  route: string;
  request_id: string | null;
}

export interface SlowStatement extends Timed {
  statement: string;
  route: string | null;
}

export interface RepeatedStatement extends Sighted {
  statement: string;
  route: string;
  /** Most in one request. */
  times: number;
}

export interface Slow {
  requests: SlowRequest[];
  statements: SlowStatement[];
  repeated: RepeatedStatement[];
}

export interface Alert {
  name: string;
  level: 'warning' | 'critical';
  value: number | null;
  since: string;
  message_en: string;
  message_ar: string;
  ended?: string;
}

export interface Alerts {
  active: Alert[];
  recent: Alert[];
}

export interface Runtime {
  version: string;
  python: string;
  pid: number;
  started_at: string;
  uptime_seconds: number;
  threads: number;
  rss_mb: number;
  open_files: number | null;
  gc_collections: number | number[];
  loop_lag_ms: number | null;
  in_flight: number;
}

// -- health

export type CheckState = 'pass' | 'warn' | 'fail';

export interface CheckDetail {
  componentType?: string;
  status: CheckState;
  required: boolean;
  observedValue?: number | string | null;
  observedUnit?: string;
  responseTimeMs?: number;
  time: string;
  output?: string;
}

export interface HealthReport {
  status: CheckState;
  version?: string;
  draining?: boolean;
  checks?: Record<string, CheckDetail[]>;
}

// -- logs

export type LogFile = 'app' | 'errors' | 'debug' | 'requests' | 'audit';

/** One line as it stands in the file; which keys it has depends on the file. */
export interface LogLine {
  timestamp: string;
  level?: string;
  logger?: string;
  message?: string;
  module?: string;
  function?: string;
  line?: number;
  exception?: { type: string; message: string; traceback: string[] };
  request_id?: string | null;
  trace_id?: string | null;
  span_id?: string | null;
  method?: string;
  path?: string;
  status_code?: number;
  response_time_ms?: number;
  user_id?: number | string | null;
  ip_address?: string | null;
  event_type?: string;
  action?: string;
  resource?: string;
  details?: Record<string, unknown>;
  [other: string]: unknown;
}

export interface LogQuery {
  file: LogFile;
  q?: string;
  level?: string;
  logger?: string;
  request_id?: string;
  trace_id?: string;
  user_id?: string;
  since?: string;
  until?: string;
  limit?: number;
  cursor?: string | null;
}

export interface LogPage extends Cursored<LogLine> {
  scanned_bytes: number;
  complete: boolean;
  took_ms: number;
}

export interface LogFiles {
  files: { name: string; kind: LogFile; size_bytes: number; modified: string }[];
  dropped: number;
}

export interface LogLevels {
  levels: { logger: string; level: string; effective: string; expires_at: string | null }[];
  sampling: { logger: string; ratio: number }[];
}

// -- traces

export interface TraceQuery {
  limit?: number;
  cursor?: string | null;
  route?: string;
  q?: string;
  min_ms?: number;
  errors?: boolean;
  since?: string;
}

export interface TraceHead {
  trace_id: string;
  name: string;
  method: string | null;
  route: string | null;
  status: number | null;
  started_at: string;
  duration_ms: number;
  spans: number;
  errors: number;
  request_id: string | null;
}

export interface Span {
  span_id: string;
  parent_id: string | null;
  name: string;
  kind: 'server' | 'client' | 'internal' | 'producer' | 'consumer';
  /** From the start of the trace. */
  start_ms: number;
  duration_ms: number;
  status: 'ok' | 'error' | 'unset';
  message: string | null;
  attributes: Record<string, unknown>;
  events: { name: string; at_ms: number; attributes: Record<string, unknown> }[];
}

export interface Trace {
  trace_id: string;
  started_at: string;
  duration_ms: number;
  spans: Span[];
}

// -- errors

export type ErrorState = 'open' | 'resolved' | 'ignored' | 'regressed';

export interface ErrorGroup {
  id: string | number;
  kind: string;
  message: string;
  culprit: string | null;
  state: ErrorState;
  count: number;
  users: number;
  first_seen: string;
  last_seen: string;
  release: string | null;
  route: string | null;
  trace_id: string | null;
  request_id: string | null;
}

export interface ErrorPage extends Cursored<ErrorGroup> {
  counts: Record<ErrorState, number>;
}

export interface StackFrame {
  file: string;
  line: number;
  function: string;
  in_app: boolean;
  context: { line: number; text: string }[];
}

export interface ErrorSample {
  at: string;
  message: string;
  request_id: string | null;
  trace_id: string | null;
  span_id: string | null;
  user_id: string | number | null;
  method: string | null;
  path: string | null;
  release: string | null;
  environment: string | null;
  frames: StackFrame[];
  causes: { kind: string; message: string }[];
  breadcrumbs: { at: string; level: string; logger: string; message: string }[];
}

export interface ErrorDetail extends ErrorGroup {
  sample: ErrorSample | null;
  recent: { at: string; request_id: string | null; trace_id: string | null; message: string; user_id: string | number | null }[];
  /** 24 counts, the oldest first. */
  hourly: number[];
}

// -- events

export interface EventRow {
  position: number;
  event_id: string;
  event_type: string;
  schema_version: number;
  aggregate_type: string;
  aggregate_id: string;
  version: number;
  user_id: string | null;
  user_name?: string | null;
  correlation_id: string | null;
  causation_id: string | null;
  tags: string[];
  recorded_at: string;
}

export interface EventDetail extends EventRow {
  payload: unknown;
  metadata: unknown;
  personal: { subject: string; erased: boolean; fields: Record<string, unknown> } | null;
  /** The event before in the same stream. */
  previous: (EventRow & { payload: unknown }) | null;
  next_position: number | null;
  previous_position: number | null;
  sealed: boolean;
}

export type EventQuery = Partial<Record<'type' | 'aggregate_type' | 'aggregate_id' | 'correlation_id' | 'tag' | 'user' | 'since' | 'until', string>>;

export interface StreamRow {
  aggregate_type: string;
  aggregate_id: string;
  version: number;
  last_type: string;
  last_position: number;
  last_at: string;
}

export interface StreamPage extends Cursored<StreamRow> {
  types: string[];
}

export interface EventStats {
  head: number;
  waiting: number;
  capacity: number;
  conflicts: number;
  sealed: number;
  types: string[];
}

export type ProjectionStatus = 'live' | 'rebuilding' | 'stopped' | 'failing';

export interface Projection {
  name: string;
  kind: 'projection' | 'consumer';
  generation: number;
  position: number;
  lag: number;
  status: ProjectionStatus;
  seen_at: string | null;
  error: string | null;
  dead_letters: number;
  rebuild: { generation: number; position: number } | null;
}

export interface Projections {
  head: number;
  projections: Projection[];
}

export interface DeadLetter {
  position: number;
  event_id: string;
  event_type: string;
  error: string;
  attempts: number;
  failed_at: string;
}

// -- audit

export interface AuditRecord {
  position: number;
  timestamp: string;
  event_type: string;
  user_id: string | null;
  user_name?: string | null;
  action: string;
  resource: string;
  details: Record<string, unknown>;
  ip_address: string | null;
  request_id: string | null;
  trace_id: string | null;
  sealed: boolean;
}

export interface AuditPage extends Cursored<AuditRecord> {
  sealed: number;
  head: number;
}

export type AuditQuery = Partial<Record<'q' | 'user' | 'action' | 'resource' | 'event_type' | 'since' | 'until', string>>;

export interface Seal {
  head: number;
  size: number;
  /** In hexadecimal digits, like every hash here. */
  root: string;
  note: string;
  sealed_at: string | null;
  key_name: string;
  public_key: string;
  anchors: { name: string; size: number; anchored_at: string; receipt: string | null }[];
  trouble: string | null;
}

export interface Verification {
  state: 'idle' | 'running' | 'done';
  checked: number;
  total: number;
  started_at: string | null;
  finished_at: string | null;
  result: {
    ok: boolean;
    size: number;
    root: string;
    events: number;
    seals: number;
    findings: { code: string; position: number | null; message_en: string; message_ar: string }[];
  } | null;
}

export interface Proof {
  position: number;
  size: number;
  leaf: string;
  proof: string[];
  root: string;
  note: string;
}

// -- jobs

export type JobState = 'ready' | 'delayed' | 'waiting' | 'running' | 'retry' | 'failed' | 'done' | 'cancelled';

export type JobCounts = Record<JobState, number>;

/** How much of a queue may run; null is without a limit. */
export interface QueueLimits {
  /** For each worker. */
  concurrency: number | null;
  /** Over all workers. */
  max_running: number | null;
  rate: number | null;
  rate_seconds: number | null;
  per_key: number | null;
  key_rate: number | null;
  key_rate_seconds: number | null;
}

export interface QueueLine extends JobCounts, QueueLimits {
  name: string;
  paused: boolean;
  oldest_seconds: number | null;
}

export interface JobWorker {
  id: string;
  host: string;
  pid: number;
  /** None named: all of them. */
  queues: string[];
  concurrency: number;
  running: number;
  started_at: string;
  seen_at: string;
  stopping: boolean;
  alive: boolean;
}

export interface JobStats {
  queues: QueueLine[];
  workers: JobWorker[];
  totals: JobCounts;
  unknown_tasks: string[];
}

export interface JobLine {
  id: number;
  task: string;
  queue: string;
  state: JobState;
  reason: 'key' | 'jobs' | 'handler' | null;
  priority: number;
  tags: string[];
  attempt: number;
  max_attempts: number;
  run_at: string;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  worker: string | null;
  progress: number | null;
  progress_text: string | null;
  error: string | null;
  /** The payload, shortened. */
  args: string;
}

export interface JobAttempt {
  at: string;
  attempt: number;
  type: string;
  message: string;
  traceback: string | null;
}

export interface JobDetail extends JobLine {
  payload: unknown;
  context: unknown;
  result: unknown;
  errors: JobAttempt[];
  logs: { at: string; level: string; message: string }[];
  timeout_seconds: number | null;
  unique_key: string | null;
  concurrency_key: string | null;
  key_limit: number | null;
  before: number[];
  after: number[];
  cancel_requested: boolean;
  rescues: number;
  traceparent: string | null;
}

export interface JobPage extends Cursored<JobLine> {
  /** Of the state and queue; unknown where more is looked for. */
  total: number | null;
}

export type JobFilter = Partial<Record<'state' | 'queue' | 'task' | 'tag' | 'q', string>>;
export type JobAction = 'retry' | 'cancel' | 'discard' | 'run';
export type JobSelection = { ids: number[] } | { filter: JobFilter };

export interface NewJob {
  task: string;
  payload: unknown;
  queue?: string;
  priority?: number;
  delay_seconds?: number;
  tags?: string[];
}

export interface JobHistory {
  /** Seconds since 1970. */
  at: number[];
  done: number[];
  failed: number[];
  retried: number[];
  cancelled: number[];
  run_ms_avg: (number | null)[];
  wait_ms_avg: (number | null)[];
}

export type ScheduleKind = 'cron' | 'interval' | 'once';

/** When a schedule fires. */
export interface Timing {
  kind: ScheduleKind;
  expression: string;
  timezone: string;
}

export interface Foreseen {
  next: string[];
  text_en: string;
  text_ar: string;
}

export interface ScheduleLine extends Timing, Foreseen {
  name: string;
  task: string;
  payload: unknown;
  queue: string | null;
  missed: 'once' | 'skip' | 'all';
  enabled: boolean;
  next_at: string | null;
  last_at: string | null;
  last_job_id: number | null;
  last_state: JobState | null;
  edited: boolean;
  declared: boolean;
  error?: string | null;
}

export interface Schedules {
  schedules: ScheduleLine[];
  leader: string | null;
}

// -- the cache

export interface CacheStats {
  cache_type: 'redis' | 'in_memory';
  total_keys: number;
  hits: number;
  misses: number;
  total_requests: number;
  /** In percent. */
  hit_rate: number;
  state: 'redis' | 'in_memory' | 'fallback';
  /** Why Redis is not used, where that is not its fault. */
  why: string | null;
  since: string | null;
  l1: { keys: number; bytes: number; max_keys: number; max_bytes: number; evicted: number };
  stale_served: number;
  loads: number;
  load_errors: number;
  redis: { address: string; up: boolean; last_error: string | null; errors: number; latency_ms: number | null } | null;
}

export interface CachePrefix {
  prefix: string;
  hits: number;
  misses: number;
  hit_rate: number;
  stale: number;
  loads: number;
  load_ms: number | null;
  errors: number;
  keys: number;
  bytes: number;
}

export interface CacheHistory {
  /** Seconds since 1970. */
  at: number[];
  series: { prefix: string; hits: (number | null)[]; misses: (number | null)[] }[];
}

export interface CacheKey {
  key: string;
  prefix: string;
  bytes: number;
  /** Zero where it is stale already. */
  ttl_seconds: number;
  stale_seconds: number;
  hits: number;
  tags: string[];
}

export interface CacheKeyPage extends Cursored<CacheKey> {
  total: number;
}

export type CacheTarget = { key: string } | { prefix: string } | { tag: string };

// -- resilience

export interface Breaker {
  name: string;
  state: string;
  forced: 'open' | 'closed' | null;
  forced_until: string | null;
  reason: string;
  since: string;
  retry_after_seconds: number | null;
  failure_rate: number | null;
  slow_rate: number | null;
  calls_in_window: number;
  thresholds: { failure_rate: number; slow_seconds: number; slow_rate: number; min_calls: number; window: number; time_window_seconds: number; open_seconds: number; probes: number };
  totals: Record<'succeeded' | 'failed' | 'slow' | 'rejected' | 'ignored' | 'late', number>;
  /** The last 50 changes of its state. */
  history: { at: string; from: string; to: string; why: string }[];
}

export interface Resilience {
  breakers: Breaker[];
  bulkheads: { name: string; limit: number; in_use: number; queue_limit: number; queued: number; rejected: number; total: number }[];
  limits: { name: string; limit: number; in_flight: number; min: number; max: number; shed: number; latency_ms: number | null }[];
  budgets: { name: string; share: number; calls: number; retries: number; refused: number }[];
  deadlines: { missed: { name: string; count: number; last_at: string | null }[] };
}

// -- backups

export interface BackupStats {
  total_backups: number;
  total_size_mb: number;
  newest_backup: string | null;
  backups: { filename: string; size_mb: number; timestamp: string }[];
}

export interface BackupCopy {
  url: string;
  state: 'ok' | 'waiting' | 'failed';
  at: string | null;
  error: string;
}

export interface BackupLine {
  filename: string;
  size_mb: number;
  timestamp: string;
  kind: string;
  database_type: string;
  pinned: boolean;
  verified_at: string | null;
  drilled_at: string | null;
  rows: number;
  /** Made before a restore. */
  safety: boolean;
  encrypted?: boolean;
  /** How long it took; 0 where it is not known. */
  seconds?: number;
  /** Files that go with it. */
  parts?: { name: string; size_mb: number; files: number }[];
  copies?: BackupCopy[];
}

export interface BackupAway {
  url: string;
  filename: string;
  size_mb: number;
  timestamp: string;
  here: boolean;
}

export interface BackupDrill {
  at: string;
  /** Empty when there was no backup to try. */
  filename: string;
  ok: boolean;
  problem: string;
  rows: number;
  seconds: number;
}

/** How the last work ended. */
export interface BackupLast {
  what: string;
  error: string;
  filename: string | null;
  at: string | null;
  rows: number | null;
  seconds: number | null;
  seconds_away: number | null;
  safety_backup: string;
  before: string;
}

export interface BackupStatus {
  running: { what: string; step: string; percent: number | null; done_bytes: number; total_bytes: number; seconds_left: number | null; filename: string | null } | null;
  next: { name: string; next_run_time: string | null; trigger: string; trigger_ar: string }[];
  policy: Record<'last' | 'daily' | 'weekly' | 'monthly' | 'yearly', number>;
  newest_good: string | null;
  drilled_at: string | null;
  free_bytes: number | null;
  last_error: string | null;
  last?: BackupLast | null;
  maintenance?: { since: string; what: string } | null;
  /** What an undo of the last restore brings back. */
  undo?: { filename: string; at: string } | null;
  drills?: BackupDrill[];
  offsite?: { url: string; backups: number; newest: string | null; waiting: number; failed: number; error: string }[];
  encryption?: { recipients: string[]; readable: boolean } | null;
  checklist: { name: string; ok: boolean; said: string }[];
  folder: string;
}

export interface BackupAnswer {
  success?: boolean;
  problem?: string | null;
  /** What a look could not do, and why. */
  note?: string | null;
  copies?: BackupCopy[];
}
