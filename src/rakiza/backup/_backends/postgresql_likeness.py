"""What a database of PostgreSQL has beside its tables: made alike, so that a restored one behaves as the one whose place it takes."""

import logging
from collections.abc import Iterator
from typing import Any

from rakiza.backup._backends.postgresql_tables import quoted

NOT_ALLOWED = "42501"
"""SQLSTATE insufficient_privilege (PostgreSQL documentation, appendix A)."""
LISTS = frozenset({
    "local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries", "temp_tablespaces", "unix_socket_directories",
})  # fmt: skip
"""Settings whose value is a list of quoted names (pg_dump's `variable_is_guc_list_quote`)."""
log = logging.getLogger("rakiza.backup")


def literal(value: str | None) -> str:
    """Return a text as SQL writes it."""
    return "null" if value is None else " E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def likeness(admin: Any, live: str) -> str:
    """Return the options with which a database is created that has the encoding and the locale of another; none when there is no other."""
    version = admin.info.server_version // 10_000
    provider = "datlocprovider" if version >= 15 else "'c'"
    locale = "datlocale" if version >= 17 else "daticulocale" if version >= 15 else "null::text"
    query = f"select pg_encoding_to_char(encoding), datcollate, datctype, {provider}, {locale} from pg_database where datname = %s"  # noqa: S608
    found = admin.execute(query, [live]).fetchone()
    if found is None:
        return ""
    encoding, collate, kind, how, name = found
    told = f" encoding {literal(encoding)} lc_collate {literal(collate)} lc_ctype {literal(kind)}"
    own = {"i": "icu", "b": "builtin"}.get(how)
    return told if own is None or name is None else f"{told} locale_provider {own} {own}_locale {literal(name)}"


def dress(admin: Any, live: str, new: str) -> None:
    """Give a new database the owner, rights, limits, settings and comment of the live one, as far as this role may."""
    for statement in [*_owned(admin, live, new), *_settings(admin, live, new)]:
        try:
            with admin.transaction():
                admin.execute(statement)
        except Exception as error:
            if getattr(error, "sqlstate", None) != NOT_ALLOWED:
                raise
            log.warning("the restored database lacks what only its owner or a superuser may give it: %s", statement)


def comment_of(admin: Any, database: str) -> str | None:
    """Return the comment on a database."""
    found = admin.execute("select shobj_description(oid, 'pg_database') from pg_database where datname = %s", [database]).fetchone()
    return None if found is None or found[0] is None else str(found[0])


def _owned(admin: Any, live: str, new: str) -> Iterator[str]:
    rights = (
        "select r.grantee::regrole::text, r.grantee = 0, r.privilege_type, r.is_grantable from pg_database d, aclexplode(d.datacl) r"
        " where d.datname = %s"
    )
    found = admin.execute(rights, [live]).fetchall()
    if found:
        yield f"revoke all on database {quoted(new)} from public"
    for to, everybody, right, passed in found:
        yield f"grant {right} on database {quoted(new)} to {'public' if everybody else to}{' with grant option' if passed else ''}"
    query = "select datconnlimit, datdba::regrole::text from pg_database where datname = %s and not datistemplate"
    for limit, owner in admin.execute(query, [live]).fetchall():
        yield f"alter database {quoted(new)} connection limit {limit}"
        yield f"comment on database {quoted(new)} is {literal(comment_of(admin, live))}"
        yield f"alter database {quoted(new)} owner to {owner}"


def _settings(admin: Any, live: str, new: str) -> Iterator[str]:
    query = (
        "select s.setrole::regrole::text, s.setrole = 0, split_part(one, '=', 1), substr(one, strpos(one, '=') + 1)"
        " from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase, unnest(s.setconfig) one where d.datname = %s"
    )
    for role, everybody, name, value in admin.execute(query, [live]).fetchall():
        whose = f"database {quoted(new)}" if everybody else f"role {role} in database {quoted(new)}"
        yield f"alter {whose} set {quoted(*name.split('.'))} to {value if name in LISTS else literal(value)}"
