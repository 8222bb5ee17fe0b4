"""Flask-Caching (BSD): its simple memory and its Redis; both pickle."""

from __future__ import annotations

import flask
from benchmarks.cache.side import TTL_SECONDS, Side
from flask_caching import Cache


class FlaskCaching(Side):
    """Plain calls only, inside an application context as in a request."""

    def open(self) -> None:
        """Make the application and its cache."""
        host, port, database = self.address if self.url else ("", 0, 0)
        settings = {"CACHE_TYPE": "RedisCache", "CACHE_REDIS_HOST": host, "CACHE_REDIS_PORT": port, "CACHE_REDIS_DB": database}
        if not self.url:
            settings = {"CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": self.capacity}
        app = flask.Flask("bench")
        cache = Cache(app, config={"CACHE_DEFAULT_TIMEOUT": TTL_SECONDS, **settings})
        self.get, self.set, self.cached = cache.get, cache.set, cache.memoize()


make = FlaskCaching
