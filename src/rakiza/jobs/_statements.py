"""The statements of the engine, for both databases; the words in braces are filled in by the backend."""

NEWS = (
    "select (select max(id) from rakiza_jobs_job),"
    " (select id from rakiza_jobs_job where {in_line} order by queue, priority, run_at, id limit 1)"
)
"""What changes on SQLite when another process put a job into the line."""
ORDERS = (
    "select (select max(updated_at) from rakiza_jobs_queue), (select max(updated_at) from rakiza_jobs_schedule),"
    " (select count(*) from rakiza_jobs_job where state = 'running' and cancel_requested)"
)
"""What changes there when another process gave an order to workers."""
MOMENT = (
    "update rakiza_jobs_job set waits_for = null where waits_for = 'time' and run_at <= :now and id in"
    " (select id from rakiza_jobs_job where waits_for = 'time' and run_at <= :now order by run_at limit 1000 {lock})"
)
NEXT_MOMENT = "select min(run_at) from rakiza_jobs_job where waits_for = 'time'"
RECENT = (
    "select id from rakiza_jobs_job where tenant_id = :tenant and unique_key = :key and unique_window and created_at > :since"
    " and state <> 'cancelled' order by created_at desc limit 1"
)
OF_A_KEY = "select id from rakiza_jobs_job where tenant_id = :tenant and unique_key = :key and {one_of_a_key}"

ADD_EDGE = "insert into rakiza_jobs_edge (before_id, after_id) values (:before, :after) on conflict do nothing"
STATES = "select id, state, waits_for from rakiza_jobs_job where id in {ids} order by id {wait}"
FOLLOWED = "update rakiza_jobs_job set followed = :yes where id = :id"
PENDING = "update rakiza_jobs_job set pending = :pending where id = :id"
HAS_EDGES = "select 1 from rakiza_jobs_edge where before_id in {ids} limit 1"
COUNT_DOWN = (
    "update rakiza_jobs_job set pending = pending - (select count(*) from rakiza_jobs_edge where after_id = rakiza_jobs_job.id"
    " and before_id in {ids}) where waits_for = 'jobs' and id in (select after_id from rakiza_jobs_edge where before_id in {ids})"
    " returning id, pending"
)
FREE = (
    "update rakiza_jobs_job set waits_for = case when run_at > :now then 'time' else null end where waits_for = 'jobs' and id in {ids}"
)
CANCEL_AFTER = (
    "update rakiza_jobs_job set state = 'cancelled', waits_for = null, finished_at = :now, progress_text = :text where waits_for = 'jobs'"
    " and id in (select after_id from rakiza_jobs_edge where before_id in {ids}) returning id"
)

RUNNING_BY_KEY = (
    "select concurrency_key, count(*) from rakiza_jobs_job where concurrency_key in {texts} and state = 'running' group by concurrency_key"
)
HOLD = "update rakiza_jobs_job set waits_for = 'key' where id in {ids}"
FREED_BY_KEY = (
    "update rakiza_jobs_job set waits_for = null where id in (select id from rakiza_jobs_job where concurrency_key = :key"
    " and state in ('ready', 'retry') and waits_for = 'key' order by priority, run_at, id limit :number)"
)
STUCK_KEYS = (
    "update rakiza_jobs_job set waits_for = null where id in (select min(id) from rakiza_jobs_job as held where waits_for = 'key'"
    " and {unfinished} and not exists (select 1 from rakiza_jobs_job as other where other.concurrency_key = held.concurrency_key"
    " and other.state = 'running') group by concurrency_key)"
)

QUEUES = "select name, paused, concurrency, max_running, rate, rate_seconds, per_key, key_rate, key_rate_seconds, arrival from rakiza_jobs_queue"
ADD_QUEUE = "insert into rakiza_jobs_queue (name, paused, updated_at) values (:name, :paused, :now) on conflict do nothing"
RUNNING_IN_QUEUE = "select count(*) from rakiza_jobs_job where state = 'running' and queue = :queue"
ARRIVAL = "update rakiza_jobs_queue set arrival = :arrival where name = :name"

PACE = "select arrival from rakiza_jobs_pace where queue = :queue and key = :key"
KEEP_PACE = (
    "insert into rakiza_jobs_pace (queue, key, arrival) values (:queue, :key, :arrival)"
    " on conflict (queue, key) do update set arrival = excluded.arrival"
)
FORGET_PACE = "delete from rakiza_jobs_pace where arrival < :now"
PUT_OFF = "update rakiza_jobs_job set waits_for = 'time', run_at = :moment, paced = :yes where id = :id"

HELLO = (
    "insert into rakiza_jobs_worker (id, host, place, pid, queues, concurrency, running, started_at, seen_at, stopping)"
    " values (:worker, :host, :place, :pid, :queues, :concurrency, 0, :now, :now, :stopping)"
)
BEAT = "update rakiza_jobs_worker set seen_at = :now, running = :running, stopping = :stopping where id = :worker"
GOODBYE = "delete from rakiza_jobs_worker where id = :worker"
SILENT = f"{GOODBYE} and seen_at = :seen"
WORKERS = "select id, place, pid, seen_at from rakiza_jobs_worker"
ORPHANED = "state = 'running' and worker not in (select id from rakiza_jobs_worker)"
ORPHANS = f"select {{columns}}, worker from rakiza_jobs_job where {ORPHANED} {{lock}}"  # noqa: S608 - constants
ANY_ORPHAN = f"select 1 from rakiza_jobs_job where {ORPHANED} limit 1"  # noqa: S608 - constants
OF_WORKER = "select id, attempt, cancel_requested from rakiza_jobs_job where worker = :worker and state = 'running'"
TAKEN_BY = "select {columns} from rakiza_jobs_job where worker = :worker and state = 'running' order by id"
FOR_HANDLER = "waits_for = 'handler' and (task in {texts} or queue in {queues})"
ANY_FOR_HANDLER = f"select 1 from rakiza_jobs_job where {FOR_HANDLER} limit 1"  # noqa: S608 - constants
KNOWN_AGAIN = f"update rakiza_jobs_job set waits_for = null where {FOR_HANDLER}"  # noqa: S608 - constants
PROGRESS = (
    "update rakiza_jobs_job set progress = :progress, progress_text = :text where id = :id and attempt = :attempt and worker = :worker"
    " and state = 'running'"
)
WRITE_LOG = "insert into rakiza_jobs_log (job_id, at, level, message) values (:id, :at, :level, :message)"

AGAIN = (
    "update rakiza_jobs_job set state = case when errors is null then 'ready' else 'retry' end, waits_for = null, run_at = :now,"
    " max_attempts = case when state = 'retry' then max_attempts else attempt + tries end, rescues = 0, finished_at = null,"
    " worker = null, progress = null, progress_text = null, result = null, cancel_requested = :no where id in {ids}"
)
AGAIN_WITH = AGAIN.replace(" where id", ", payload = :payload where id")
END = (
    "update rakiza_jobs_job set state = 'cancelled', waits_for = null, finished_at = :now where id in {ids}"
    " and state in ('ready', 'retry', 'failed') returning id, concurrency_key"
)
ASK_TO_STOP = "update rakiza_jobs_job set cancel_requested = :yes where id in {ids} and state = 'running' returning id"
RUN_NOW = "update rakiza_jobs_job set run_at = :now, waits_for = null where waits_for = 'time' and id in {ids} returning id"

OLD = (
    "delete from rakiza_jobs_job where state = :state and finished_at < :cut and id in (select id from rakiza_jobs_job"
    " where state = :state and finished_at < :cut order by finished_at limit 2000) returning id"
)
DELETE_WITH = (
    "delete from rakiza_jobs_log where job_id in {ids}",
    "delete from rakiza_jobs_edge where before_id in {ids}",
    "delete from rakiza_jobs_edge where after_id in {ids}",
)

ONE_IN_LINE = "select {columns} from rakiza_jobs_job where id = :id and {in_line} {lock}"
DUE = (
    "select 1 where exists (select 1 from rakiza_jobs_job where {in_line} and queue in (select name from rakiza_jobs_queue where not paused))"
    " or exists (select 1 from rakiza_jobs_job where state = 'running')"
    " or exists (select 1 from rakiza_jobs_job where waits_for = 'time' and run_at <= :now)"
)
DUE_OF = (
    "select 1 where exists (select 1 from rakiza_jobs_job where {in_line} and queue = :queue"
    " and queue in (select name from rakiza_jobs_queue where not paused))"
    " or exists (select 1 from rakiza_jobs_job where state = 'running' and queue = :queue)"
    " or exists (select 1 from rakiza_jobs_job where waits_for = 'time' and run_at <= :now and queue = :queue)"
)
COUNTS = (
    "select queue, 'ready', null, count(*) from rakiza_jobs_job where {in_line} group by queue",
    "select queue, state, waits_for, count(*) from rakiza_jobs_job where waits_for is not null group by queue, state, waits_for",
    "select queue, 'running', null, count(*) from rakiza_jobs_job where state = 'running' group by queue",
    "select queue, state, null, count(*) from rakiza_jobs_job where finished_at is not null group by queue, state",
)
OLDEST = (
    "select min(run_at) from (select (select min(run_at) from rakiza_jobs_job where {in_line} and queue = name and not paused) as run_at"
    " from rakiza_jobs_queue) as first"
)
OLD_TALLY = "delete from rakiza_jobs_tally where minute < :minute"
