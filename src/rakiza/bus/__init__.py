"""Small signals between threads and between processes of one database: something happened, go and look.

    from rakiza._kernel import Supervisor
    from rakiza.bus import Bus
    from rakiza.store import Store

    store = Store("var/demo.db")                      # in a platform: ctx.need("bus", Bus)
    bus, heard = Bus(store, Supervisor()), []
    listener = bus.on("invoices", lambda: heard.append("هناك جديد"))
    with store.begin() as tx:
        bus.announce("invoices", tx)                  # once it has committed, however often it is said
    assert heard == ["هناك جديد"]
    bus.close()
    store.close()

A signal has no content and may get lost, so a listener looks for itself and also now and then without one. PostgreSQL carries
signals by NOTIFY on the channel `rakiza_<topic>`, all topics over one connection that listens. For a SQLite file each topic says
by `bus.probe` how to see that another process wrote for it; nothing is asked while nobody writes to the file.
"""

from .part import part
from .service import Bus, Listener
from .settings import BusSettings

__all__ = ["Bus", "BusSettings", "Listener", "part"]
