"""A process that forks while its threads hold every lock there is: the child works and ends, because it takes locks of its own."""

from collections.abc import Callable
from pathlib import Path

import servers

SOURCE = """
import gc, os, signal, sys, threading, traceback
from flask import Flask
from rakiza import integrate
from rakiza.caching import cached
from rakiza.jobs import job
from rakiza.resilience import CircuitBreaker, resilient
LOCKS = (type(threading.Lock()), type(threading.RLock()))
WRAPPED = (threading.Event, threading.Condition, threading.Semaphore)
WAITED_FOR = {"FairLock", "SqliteBackend", "FileEar", "LocalFile", "OpenFiles"}  # a fork waits until nobody uses a file of SQLite
app = Flask("x")
breaker = CircuitBreaker(name="bank")

@job("forked:greet")
def greet(name):
    return f"مرحبا {name}"

@cached(ttl=60)
def price(of):
    return breaker.call(lambda: of)

@app.get("/price/<of>")
def answer(of):
    app.logger.warning("السعر %s", of)
    return price(of)

@app.get("/fails/<of>")
def fails(of):
    raise RuntimeError(of)

platform = integrate(app, {"hub": {"home": sys.argv[1]}, "store": {"database_url": sys.argv[2]}})
platform.start()

def use(word):
    client = app.test_client()
    assert client.get("/price/" + word).text == word
    assert client.get("/fails/" + word).status_code == 500
    assert client.get("/healthz").status_code == 200
    platform.events.append({"event_type": "Seen", "aggregate_type": "word", "aggregate_id": word, "payload": {"كلمة": word}})
    platform.audit.record("word.seen", "seen", resource=word)
    platform.security.create_user(f"{word}@example.com", word, password=f"{word} is a long enough password")
    platform.cache.set("k:" + word, word)
    assert platform.cache.get("k:" + word) == word
    made = platform.jobs.add_job("forked:greet", {"name": word})
    platform.jobs.drain()
    assert platform.jobs.wait(made.id) == "مرحبا " + word
    assert resilient("forked:" + word)(lambda: word)() == word
    platform.metrics.render()
    platform.errors.flush()

def of(owner, seen):
    inside = [getattr(owner, name, None) for kind in type(owner).__mro__ for name in getattr(kind, "__slots__", ())]
    for held in [*inside, *list(getattr(owner, "__dict__", {}).values())]:
        if isinstance(held, LOCKS):
            seen.setdefault(id(held), (type(owner).__qualname__, held))
        elif isinstance(held, WRAPPED):
            of(held, seen)

def locks():
    seen = {}
    for owner in gc.get_objects():
        if str(type(owner).__module__).startswith("rakiza.") and type(owner).__name__ not in WAITED_FOR:
            of(owner, seen)
    for name, module in list(sys.modules.items()):
        if name.startswith("rakiza."):
            of(module, seen)
    return list(seen.values())

def hold(found, held, go):
    for _, lock in found:
        lock.acquire(timeout=0.1)  # or another thread holds it
    held.set()
    go.wait()

def give_up(*_):
    for frame in sys._current_frames().values():
        print("".join(traceback.format_stack(frame)))
    os._exit(1)

use("parent")
found, held, go = locks(), threading.Event(), threading.Event()
threading.Thread(target=hold, args=(found, held, go), daemon=True).start()
held.wait()
child = os.fork()
if not child:
    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    use("child")
    platform.shutdown()
    print("the child ended", flush=True)
    os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(len(found), "locks,", "child", code, flush=True)
os._exit(0)  # its own threads still wait for what was held
"""


def test_a_child_takes_locks_of_its_own_whichever_the_threads_of_its_parent_held(
    rooms_url: str, tmp_path: Path, python_process: Callable[..., servers.Child]
) -> None:
    lines = python_process(SOURCE, str(tmp_path), rooms_url).finish()
    assert "the child ended" in lines, "\n".join(lines)
    counted, _, ended = lines[-1].partition(" locks, ")
    assert (int(counted) > 50, ended) == (True, "child 0")
