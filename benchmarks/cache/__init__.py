"""Measure the cache against bare redis-py, functools, cachetools, theine, dogpile.cache, Flask-Caching, cashews and aiocache."""
