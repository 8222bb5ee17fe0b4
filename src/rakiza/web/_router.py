"""Find the platform route of a path."""

import re
from collections.abc import Iterable

import msgspec

from rakiza._kernel import Route


class Match(msgspec.Struct, frozen=True):
    """Name the route found and the values in its path."""

    route: Route
    params: dict[str, str]


class Router:
    """Find the route of a path: one dict lookup for plain paths, a short list of patterns for the others."""

    __slots__ = ("_patterns", "_plain", "prefixes")

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._plain: dict[str, dict[str, Match]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, Route]]] = []
        self.prefixes: tuple[str, ...] = ()
        self.add(routes)

    def add(self, routes: Iterable[Route]) -> None:
        """Take in more routes; raise ValueError for a method and path that is there already."""
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        if "{" not in route.path:
            methods = self._plain.setdefault(route.path, {})
            if route.method in methods:
                raise ValueError(f"two routes for {route.method} {route.path}")
            methods[route.method] = Match(route, {})
            return
        pattern = compile_path(route.path)
        known = next((methods for other, methods in self._patterns if other.pattern == pattern.pattern), None)
        if known is None:
            known = {}
            self._patterns.append((pattern, known))
            self.prefixes = (*self.prefixes, route.path[: route.path.index("{")])
        if route.method in known:
            raise ValueError(f"two routes for {route.method} {route.path}")
        known[route.method] = route

    def find(self, method: str, path: str) -> "Match | frozenset[str] | None":
        """Return the match; or the methods allowed when only the method is wrong; or none for an unknown path."""
        plain = self._plain.get(path)
        if plain is not None:
            return plain.get(method) or (plain.get("GET") if method == "HEAD" else None) or frozenset(plain)
        if not path.startswith(self.prefixes):
            return None
        for pattern, methods in self._patterns:
            found = pattern.fullmatch(path)
            if found is not None:
                route = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
                return Match(route, found.groupdict()) if route else frozenset(methods)
        return None


def compile_path(path: str) -> re.Pattern[str]:
    """Return the pattern of a path template."""
    parts = re.split(r"\{(\w+)(:path)?\}", path)
    text = ""
    for index in range(0, len(parts) - 1, 3):
        text += re.escape(parts[index]) + f"(?P<{parts[index + 1]}>{'.+' if parts[index + 2] else '[^/]+'})"
    return re.compile(text + re.escape(parts[-1]))
