"""Transactions: all or nothing, joined blocks, work after the commit, on both engines."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from rakiza._kernel import WorkerPool
from rakiza.store import RolledBackError, Store, StoreBusyError, StoreError


def names(store: Store, account: sa.Table) -> list[str]:
    """Return the committed names in order."""
    with store.read() as tx:
        return [row.name for row in tx.execute(sa.select(account.c.name).order_by(account.c.id))]


def test_a_block_commits_arabic_text_and_a_failed_one_leaves_nothing(store: Store, account: sa.Table) -> None:
    with store.begin() as tx:
        tx.execute(account.insert().values(name="مؤسسة النخيل للمقاولات"))
    with pytest.raises(ZeroDivisionError), store.begin() as tx:
        tx.execute(account.insert().values(name="lost"))
        raise ZeroDivisionError
    assert names(store, account) == ["مؤسسة النخيل للمقاولات"]


def test_an_inner_block_joins_the_outer_one(store: Store, account: sa.Table) -> None:
    with store.begin() as outer:
        with store.begin() as inner:
            assert inner is outer
            inner.execute(account.insert().values(name="داخلي"))
        with store.read() as reading:
            assert reading is outer
            assert reading.scalar(sa.select(account.c.name)) == "داخلي"
        assert not outer.closed
    assert outer.closed
    assert names(store, account) == ["داخلي"]


def test_a_swallowed_failure_of_an_inner_block_undoes_the_whole(store: Store, account: sa.Table) -> None:
    with pytest.raises(RolledBackError) as caught, store.begin() as outer:
        outer.execute(account.insert().values(name="outer"))
        with pytest.raises(KeyError), store.begin():
            raise KeyError("inner")
    assert isinstance(caught.value.__cause__, KeyError)
    assert names(store, account) == []


def test_a_swallowed_failure_of_an_inner_read_undoes_nothing(store: Store, account: sa.Table) -> None:
    with store.begin() as outer:
        outer.execute(account.insert().values(name="kept"))
        with pytest.raises(KeyError), store.read():
            raise KeyError("not found")
    assert names(store, account) == ["kept"]


def test_a_savepoint_saves_the_rest(store: Store, account: sa.Table) -> None:
    with store.begin() as tx:
        tx.execute(account.insert().values(name="أ"))
        with pytest.raises(sa.exc.IntegrityError), tx.savepoint():
            tx.execute(account.insert().values(name="أ"))
        tx.execute(account.insert().values(name="ب"))
    assert names(store, account) == ["أ", "ب"]


def test_the_raw_path_raises_the_same_error_as_the_usual_one(store: Store, account: sa.Table) -> None:
    insert = store.compile(account.insert(), "name")
    with pytest.raises(sa.exc.IntegrityError), store.begin() as tx:
        assert tx.run(insert, name="twice") == 1
        tx.run(insert, name="twice")
    assert names(store, account) == []


def test_postgresql_never_turns_a_commit_into_a_silent_rollback(postgres_url: str) -> None:
    store = Store(postgres_url)
    with store.begin() as tx:
        tx.execute(sa.text("create table t (a int primary key)"))
    with pytest.raises(RolledBackError, match="swallowed"), store.begin() as tx:
        tx.execute(sa.text("insert into t values (1)"))
        with pytest.raises(sa.exc.IntegrityError):
            tx.execute(sa.text("insert into t values (1)"))
    with store.read() as tx:
        assert tx.scalar(sa.text("select count(*) from t")) == 0
    store.close()


def test_work_after_the_commit_runs_in_order_outside_the_lock(store: Store, account: sa.Table) -> None:
    seen: list[str] = []

    def look() -> None:
        with store.begin() as tx:  # would wait for itself inside the lock
            seen.append(tx.scalar(sa.select(account.c.name)))

    with store.begin() as tx:
        tx.after_commit(lambda: seen.append("first"))
        with store.begin() as inner:
            inner.after_commit(look)
        tx.after_commit(lambda: seen.append("last"))
        tx.execute(account.insert().values(name="حساب"))
        assert seen == []
    assert seen == ["first", "حساب", "last"]


def test_work_after_the_commit_is_dropped_by_a_rollback(store: Store) -> None:
    seen: list[str] = []
    with pytest.raises(ZeroDivisionError), store.begin() as tx:
        tx.after_commit(lambda: seen.append("never"))
        raise ZeroDivisionError
    assert seen == []


def test_failing_work_after_the_commit_is_logged_and_stops_nothing(store: Store, account: sa.Table, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []
    with caplog.at_level(logging.ERROR, "rakiza.store"), store.begin() as tx:
        tx.execute(account.insert().values(name="ثابت"))
        tx.after_commit(lambda: seen.append(str(1 // 0)))
        tx.after_commit(lambda: seen.append("still"))
    assert seen == ["still"]
    assert names(store, account) == ["ثابت"]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


def test_a_reading_block_takes_no_work_and_no_change(store: Store, account: sa.Table) -> None:
    with store.read() as tx, pytest.raises(RuntimeError, match="begin"):
        tx.after_commit(list)
    with pytest.raises(StoreError) as caught, store.read() as tx:
        tx.execute(account.insert().values(name="x"))
    assert caught.value.stable_code == "store_read_only"
    assert "store.begin()" in (caught.value.hint or "")
    assert names(store, account) == []


def test_a_write_inside_a_reading_block_is_its_own_transaction(store: Store, account: sa.Table) -> None:
    with store.read() as reading:
        with store.begin() as writing:
            assert writing is not reading
            writing.execute(account.insert().values(name="كتابة"))
            with store.read() as joined:
                assert joined is writing
        with store.read() as again:
            assert again is reading
    assert names(store, account) == ["كتابة"]


def test_a_transaction_is_dead_after_its_block_and_in_other_threads(store: Store) -> None:
    with store.begin() as tx, ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="thread"):
        pool.submit(lambda: tx.connection).result()
    with pytest.raises(RuntimeError, match="over"):
        tx.scalar(sa.select(1))


def test_a_worker_that_inherits_the_context_does_not_share_the_connection(store: Store, account: sa.Table) -> None:
    pool = WorkerPool(1)

    def count() -> tuple[bool, int]:
        with store.read() as tx:
            return store.in_transaction, tx.scalar(sa.select(sa.func.count()).select_from(account))

    with store.begin() as tx:
        tx.execute(account.insert().values(name="unseen"))
        assert pool.submit(count).result() == (False, 0)
        assert store.in_transaction
    assert pool.submit(count).result() == (False, 1)
    pool.close()


def test_two_stores_in_one_context_do_not_join(store: Store, tmp_path: object) -> None:
    other = Store(f"{tmp_path}/other.db")
    with store.begin() as one, other.begin() as two:
        assert one is not two
        assert store.in_transaction
        assert other.in_transaction
    other.close()


def test_threads_count_exactly(store: Store, account: sa.Table) -> None:
    with store.begin() as tx:
        tx.execute(account.insert().values(name="صندوق"))

    def deposit(_: int) -> None:
        with store.begin() as tx:
            held = tx.scalar(sa.select(account.c.halalas).with_for_update())
            tx.execute(account.update().values(halalas=held + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(deposit, range(200)))
    with store.read() as tx:
        assert tx.scalar(sa.select(account.c.halalas)) == 200


def test_the_writers_of_one_process_come_in_the_order_they_asked(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    order: list[int] = []
    threads = []

    def write(number: int) -> None:
        with store.begin():
            order.append(number)

    with store.begin():
        for number in range(8):
            threads.append(threading.Thread(target=write, args=(number,)))
            threads[-1].start()
            while len(store._backend._turn._waiters) <= number:  # type: ignore[attr-defined]
                pass
    for thread in threads:
        thread.join()
    assert order == list(range(8))
    store.close()


def test_who_waits_too_long_for_the_writer_is_told(sqlite_url: str) -> None:
    store = Store(sqlite_url, pool_timeout_seconds=0.05)
    with ThreadPoolExecutor(1) as pool, store.begin(), pytest.raises(StoreBusyError) as caught:
        pool.submit(lambda: store.begin().__enter__()).result()
    assert caught.value.status == 503
    assert caught.value.headers["retry-after"] == "1"
    assert "short" in (caught.value.hint or "")
    with store.begin() as tx:  # the one who gave up left no place taken
        assert tx.scalar(sa.select(1)) == 1
    store.close()


def test_who_waits_too_long_for_a_connection_is_told(impatient: Store) -> None:
    with ThreadPoolExecutor(1) as pool, impatient.read() as tx:
        tx.scalar(sa.select(1))
        with pytest.raises(StoreBusyError, match=r"waited 0\.1 s"):
            pool.submit(impatient.ping).result()
    impatient.ping()


def test_a_writer_of_another_process_makes_sqlite_busy(sqlite_url: str) -> None:
    one, two = Store(sqlite_url), Store(sqlite_url, busy_timeout_seconds=0.05)
    with one.begin(), pytest.raises(StoreBusyError, match="another process"), two.begin():
        pass
    with two.begin() as tx:
        assert tx.scalar(sa.select(1)) == 1
    one.close()
    two.close()


def test_a_deadlock_is_told_apart_and_can_be_tried_again(postgres_url: str) -> None:
    store = Store(postgres_url)
    with store.begin() as tx:
        tx.execute(sa.text("create table t (a int primary key, n int)"))
        tx.execute(sa.text("insert into t values (1, 0), (2, 0)"))
    both = threading.Barrier(2, timeout=60)
    calls: list[int] = []

    def move(first: int, second: int) -> None:
        def work() -> None:
            calls.append(first)
            with store.begin() as tx:
                tx.execute(sa.text("update t set n = n + 1 where a = :a"), {"a": first})
                if calls.count(first) == 1:
                    both.wait()
                tx.execute(sa.text("update t set n = n + 1 where a = :a"), {"a": second})

        store.retry(work, attempts=20)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(move, (1, 2), (2, 1)))
    with store.read() as tx:
        assert tx.scalar(sa.text("select sum(n) from t")) == 4
    store.close()
    assert len(calls) >= 3, "who begins again may meet the other before it is awake, and lose once more"


def test_postgresql_ends_a_statement_that_takes_too_long(postgres_url: str) -> None:
    store = Store(postgres_url, statement_timeout_seconds=0.05)
    with pytest.raises(StoreBusyError) as caught, store.read() as tx:
        tx.execute(sa.text("select pg_sleep(5)"))
    assert caught.value.stable_code == "store_timeout"
    store.ping()
    store.close()


def test_a_block_may_run_on_the_loop(store: Store, account: sa.Table) -> None:
    async def serve() -> int:
        with store.begin() as tx:
            tx.execute(account.insert().values(name="loop"))
        pool = WorkerPool(1)
        count = await pool.run(lambda: len(names(store, account)))
        pool.close()
        return count

    assert asyncio.run(serve()) == 1


def test_a_closed_store_opens_again(store: Store, account: sa.Table) -> None:
    with store.begin() as tx:
        tx.execute(account.insert().values(name="باق"))
    store.close()
    assert names(store, account) == ["باق"]


def test_the_raw_connection_stands_apart(store: Store, account: sa.Table) -> None:
    with store.raw_connection() as raw, store.begin() as tx:
        tx.execute(account.insert().values(name="later"))
        assert raw.execute("select count(*) from account").fetchone()[0] == 0
    with store.raw_connection() as raw:
        raw.execute("update account set halalas = 5")
    with store.read() as tx:
        assert tx.scalar(sa.select(account.c.halalas)) == 5


def test_a_block_that_failed_within_a_savepoint_undoes_only_that(store: Store) -> None:
    with store.begin() as tx:
        with pytest.raises(ZeroDivisionError), tx.savepoint(), store.begin():
            raise ZeroDivisionError
        with pytest.raises(ZeroDivisionError), tx.savepoint():
            raise ZeroDivisionError
