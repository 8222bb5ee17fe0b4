"""Every room has a door that says what it gives, in types and in words."""

import ast
import importlib
from collections.abc import Iterator

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
SETTINGS = "RoomSettings"
UNTYPED_BY_NATURE = {"Store", "Transaction", "RunningJob", "JobView"}  # rows, drivers, JSON of jobs have no type before they are read


def test_every_room_has_a_door(rooms: list) -> None:
    assert [door.place for door in rooms if not ast.get_docstring(door.tree)] == []
    assert [door.place for door in rooms if exported(door.tree) is None] == []


def test_a_door_opens(rooms: list) -> None:
    missing = []
    for door in rooms:
        module = importlib.import_module(door.module)
        missing += [f"{door.module}.{name}" for name in exported(door.tree) or [] if not hasattr(module, name)]
    assert missing == []


def exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value) | ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value):
                return list(ast.literal_eval(value))
    return None


def test_no_door_gives_an_unknown_type(sources: list, rooms: list) -> None:
    given = {door.module: set(exported(door.tree) or []) for door in rooms}
    seen, wrong = 0, []
    for source in sources:
        for node in source.tree.body:
            if isinstance(node, Definition) and node.name in given.get(source.room, set()) and node.name not in UNTYPED_BY_NATURE:
                seen += 1
                wrong += [f"{source.place}:{line} in {node.name}" for line in lines_with_any(node)]
    assert seen >= 30
    assert wrong == []


def lines_with_any(definition: Definition) -> Iterator[int]:
    """Yield the lines of the public signatures and fields of a definition that say `Any`."""
    for node in [definition, *(definition.body if isinstance(definition, ast.ClassDef) else [])]:
        for annotation in annotations(node):
            if any(isinstance(part, ast.Name) and part.id == "Any" for part in ast.walk(annotation)):
                yield annotation.lineno


def annotations(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, FUNCTIONS) and is_public(node.name):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        yield from (argument.annotation for argument in arguments if argument and argument.annotation)
        if node.returns:
            yield node.returns
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and is_public(node.target.id):
        yield node.annotation


def is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__init__"


def test_every_public_name_has_a_docstring(sources: list) -> None:
    seen, wrong = 0, []
    for source in sources:
        if private_module(source.module) or source.is_migration:
            continue
        for node in public_definitions(source.tree):
            seen += 1
            if not ast.get_docstring(node):
                wrong.append(f"{source.place}:{node.lineno} {node.name}")
    assert seen >= 150
    assert wrong == []


def private_module(module: str) -> bool:
    return any(part.startswith("_") for part in module.split(".")[1:]) and not module.startswith("rakiza._kernel")


def public_definitions(tree: ast.Module) -> Iterator[Definition]:
    """Yield public classes, functions and methods; overloads and setters say nothing new."""
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                inner = (each for each in node.body if isinstance(each, Definition) and not each.name.startswith("_"))
                yield from (each for each in inner if says_something(each))


def says_something(node: Definition) -> bool:
    names = {ast.unparse(decorator).rpartition(".")[2] for decorator in node.decorator_list}
    return not names & {"overload", "setter", "override"}


def test_every_setting_has_a_docstring(sources: list) -> None:
    seen, wrong = 0, []
    for source in sources:
        for settings in (node for node in source.tree.body if isinstance(node, ast.ClassDef) and SETTINGS in map(ast.unparse, node.bases)):
            for field, said in zip(settings.body, [*settings.body[1:], None], strict=True):
                if isinstance(field, ast.AnnAssign) and "ClassVar" not in ast.unparse(field.annotation):
                    seen += 1
                    if not (isinstance(said, ast.Expr) and isinstance(said.value, ast.Constant) and isinstance(said.value.value, str)):
                        wrong.append(f"{source.place}:{field.lineno} {ast.unparse(field.target)}")
    assert seen >= 10
    assert wrong == []
