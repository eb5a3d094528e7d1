"""What leaves user code is one line, whatever it is; what is not the user's fault passes."""

import linecache
from pathlib import Path

import pytest

from seedbed.usercode.user_error_messages import attribute_user_errors, is_out_of_memory
from seedbed_api.errors import UserError


class Stop(BaseException):
    """No Exception."""


class MuteError(Exception):
    """Cannot even be printed."""

    def __str__(self):
        raise RuntimeError("inner")


def refusal_of(error: BaseException, tmp_path: Path, *, files=frozenset({"mine.py"})) -> str:
    """Raise an error at line 3 of the user's mine.py."""
    file = tmp_path / "mine.py"
    file.write_text("def go(error):\n    # why\n    raise error  # here\n")
    linecache.checkcache(str(file))
    names: dict = {}
    exec(compile(file.read_text(), str(file), "exec"), names)
    with (
        pytest.raises(UserError) as caught,
        attribute_user_errors("mine:Net", "build", root=tmp_path, files=files),
    ):
        names["go"](error)
    assert caught.value.__cause__ is error
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("error", "says"),
    [
        pytest.param(ValueError("no"), "build raised at mine.py:3 ValueError: no ", id="an exception"),
        pytest.param(ValueError("\n\n  first\nsecond"), "ValueError: first (", id="several lines"),
        pytest.param(ValueError("x" * 2000), "x" * 300 + " (", id="a long text"),
        pytest.param(RuntimeError(), "RuntimeError: raise error  # here", id="no text: the line speaks"),
        pytest.param(MuteError(), "MuteError: no message (its __str__ raised RuntimeError)", id="no text that can be had"),
        pytest.param(SystemExit(), "SystemExit: raise error", id="an exit without code"),
        pytest.param(SystemExit(0), "mine.py:3 SystemExit: 0", id="an exit that says all is well"),
        pytest.param(Stop("now"), "mine.py:3 Stop: now", id="no Exception at all"),
        pytest.param(GeneratorExit(), "GeneratorExit", id="the end of a generator"),
        pytest.param(StopIteration(), "StopIteration", id="the end of an iterator"),
        pytest.param(ExceptionGroup("two", [ValueError("a"), KeyError("b")]), "ExceptionGroup: two", id="a group"),
        pytest.param(
            RuntimeError("Trying to backward through the graph a second time"),
            "leave backward() to Seedbed",
            id="a second backward pass",
        ),
    ],
)  # fmt: skip
def test_an_exception_is_one_line_with_its_place(tmp_path, error, says):
    assert says in refusal_of(error, tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        UserError("DatasetChanged", "ours"),
    ],
    ids=["Ctrl-C", "MemoryError", "the allocator of torch", "ours"],
)
def test_what_is_not_the_codes_fault_passes(error):
    with pytest.raises(type(error)) as caught, attribute_user_errors("mine:Net", "build", root=None):
        raise error
    assert caught.value is error


def test_memory_is_recognised_whatever_the_type():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("CUDA out of memory."))
    assert not is_out_of_memory(ValueError("out of memory"))
    assert not is_out_of_memory(RuntimeError("no"))


def test_in_a_folder_of_many_packages_the_users_files_alone_count(tmp_path):
    """An installed module lies beside the libraries that it calls."""
    message = refusal_of(ValueError("no"), tmp_path, files=frozenset({"other.py"}))
    assert "at mine.py" not in message
    assert ", in mine.py:3" in message


@pytest.mark.parametrize(
    ("action", "fix"),
    [("build", "build(args)"), ("loss", "loss(model, batch)"), ("metrics", "metrics(confusion)")],
)
def test_a_function_with_other_parameters_is_told_how_it_is_called(action, fix):
    def nothing():
        return None

    with (
        pytest.raises(UserError, match="it is called as") as caught,
        attribute_user_errors("mine:Net", action, root=Path("/nowhere")),
    ):
        nothing(1)
    assert fix in caught.value.message
