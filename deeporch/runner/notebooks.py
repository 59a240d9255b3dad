"""Notebook files: the parameters they declare, the metrics they record, and what makes them fit to be committed."""

from __future__ import annotations

import ast
import copy
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..util.record import METRICS_MIME

if TYPE_CHECKING:
    from nbformat import NotebookNode


_ROOT = Path(__file__).resolve().parents[2]
_WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
_ADDED_BY_PAPERMILL = {"injected-parameters", "papermill-error-cell-tag"}
_BASE64 = re.compile(r"(base64,[A-Za-z0-9+/=]+)")  # sound and pictures inside HTML: neither searched nor changed
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_PRIVATE = ("home", "Users", "root", "tmp", "private", "var", "mnt")  # where a machine path starts, on any machine


def read_notebook(path: str | Path) -> NotebookNode:
    """Read a notebook file."""
    import nbformat

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no notebook {path}.")
    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, nbformat.ValidationError, AttributeError) as error:
        raise ValueError(f"{path} is not a readable notebook: {str(error).splitlines()[0]}") from error


# ---- Parameters ------------------------------------------------------------------------------------------------------


def parameters_cell(notebook: NotebookNode) -> NotebookNode | None:
    """Return the code cell tagged ``parameters``, or None."""
    return next((c for c in notebook.cells if "parameters" in _tags(c) and c.cell_type == "code"), None)


def read_parameters(notebook: NotebookNode | str | Path) -> dict[str, Any]:
    """Return the names and default values of a notebook's parameters cell, in order."""
    notebook = read_notebook(notebook) if isinstance(notebook, str | Path) else notebook
    cell = parameters_cell(notebook)
    values = {}
    for line in ast.parse(cell.source).body if cell else []:
        target = line.targets[0] if isinstance(line, ast.Assign) else getattr(line, "target", None)
        if not isinstance(target, ast.Name):
            raise ValueError(f"The parameters cell may only assign values to names, but has {ast.unparse(line)!r}.")
        try:
            values[target.id] = ast.literal_eval(line.value)
        except ValueError:
            raise ValueError(f"Parameter {ast.unparse(line)!r} is not a plain value.") from None
    return values


# ---- Metrics ---------------------------------------------------------------------------------------------------------


def read_metrics(notebook: NotebookNode | str | Path) -> dict[str, Any]:
    """Return every metric that an executed notebook recorded; of a name recorded twice, the later value."""
    notebook = read_notebook(notebook) if isinstance(notebook, str | Path) else notebook
    metrics: dict[str, Any] = {}
    for _, output in _outputs(notebook):
        metrics.update(output.get("data", {}).get(METRICS_MIME, {}))
    return metrics


# ---- Fit to be committed ---------------------------------------------------------------------------------------------


def clean_notebook(notebook: NotebookNode) -> NotebookNode:
    """Return a copy with its sources and results, and without what belongs to one run on one machine."""
    import nbformat

    notebook = copy.deepcopy(notebook)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.cells = [cell for cell in notebook.cells if not _ADDED_BY_PAPERMILL & set(_tags(cell))]
    count = 0
    for index, cell in enumerate(notebook.cells):
        cell.setdefault("id", f"cell-{index:02d}")
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in ("tags", "jupyter")})
        if cell.cell_type == "code":
            count += cell.execution_count is not None
            cell.execution_count = count if cell.execution_count is not None else None
            cell.outputs = _clean_outputs(cell.outputs, cell.execution_count)
    return notebook


def check_notebook(notebook: NotebookNode) -> list[str]:
    """Return what keeps a notebook from being committed, one sentence each; nothing if it is fit."""
    problems = []
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        problems.append("The kernel is not python3.")
    if "papermill" in notebook.metadata:
        problems.append("papermill's metadata are still there.")
    if any(_ADDED_BY_PAPERMILL & set(_tags(cell)) for cell in notebook.cells):
        problems.append("A cell that papermill added is still there.")
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        problems.append("The code cells were not run once each, from top to bottom.")
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and (path := _machine_path(cell.source, _PRIVATE)):
            problems.append(f"Cell {index} names the path {path}.")
    for index, output in _outputs(notebook):
        problems += [f"The output of cell {index} {what}." for what in _output_problems(output)]
    return problems


def _output_problems(output: NotebookNode) -> Iterator[str]:
    if output.output_type == "error":
        yield f"is an error: {output.ename}"
    if output.output_type == "stream" and output.name == "stderr":
        yield "has warnings or progress (stderr)"
    if _WIDGET_MIME in output.get("data", {}):
        yield "is a live widget, which nobody else can see"
    text = "\n".join(_texts(output))
    if path := _machine_path(text, (*_PRIVATE, *(entry.name for entry in os.scandir("/") if entry.is_dir()))):
        yield f"names the path {path}"
    if _ADDRESS.search(text):
        yield f"has a memory address:{_ADDRESS.search(text).group()}"


def _clean_outputs(outputs: list[NotebookNode], count: int | None) -> list[NotebookNode]:
    """Return the outputs that are results, streams joined."""
    import nbformat

    cleaned: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream":
            if output.name == "stderr":
                continue
            if cleaned and cleaned[-1].output_type == "stream":
                cleaned[-1].text += output.text
                continue
        elif _WIDGET_MIME in output.get("data", {}):
            del output.data[_WIDGET_MIME]
            if set(output.data) <= {"text/plain"}:  # only "HBox(children=…" is left
                continue
        if "execution_count" in output:
            output.execution_count = count
        cleaned.append(output)
    for output in cleaned:
        if output.output_type == "stream":
            output.text = _tidy("\n".join(line.rstrip("\r").rpartition("\r")[2] for line in output.text.split("\n")))
        elif "data" in output:
            output.data = nbformat.from_dict({mime: _map_text(data, mime, _tidy) for mime, data in output.data.items()})
    return cleaned


def _tidy(text: str) -> str:
    """Replace this machine's folders and addresses, except inside base64 data."""
    folders = {str(_ROOT): ".", str(Path(sys.prefix)): ".venv", str(Path.home()): "~"}
    parts = _BASE64.split(text)
    for index in range(0, len(parts), 2):
        parts[index] = _ADDRESS.sub("", parts[index])
        for folder in sorted((f for f in folders if len(Path(f).parts) > 1), key=len, reverse=True):
            short = folders[folder]
            inside = "" if short == "." else f"{short}/"
            parts[index] = re.sub(re.escape(folder) + "/", inside, parts[index])
            parts[index] = re.sub(re.escape(folder) + r"(?![\w.-])", short, parts[index])
    return "".join(parts)


def _map_text(data: Any, mime: str, change: Callable[[str], str]) -> Any:
    """Apply `change` to every string of an output's data that is text (pictures and sound are not)."""
    if isinstance(data, dict):
        return {key: _map_text(value, mime, change) for key, value in data.items()}
    if isinstance(data, list):
        return [_map_text(value, mime, change) for value in data]
    is_text = mime.startswith("text/") or mime.endswith(("json", "xml", "javascript"))
    return change(data) if isinstance(data, str) and is_text else data


def _texts(output: NotebookNode) -> list[str]:
    """Return the texts of an output."""
    found: list[str] = [output.get("text", ""), *output.get("traceback", [])]
    for mime, data in output.get("data", {}).items():
        _map_text(data, mime, lambda text: found.append(text) or text)
    return found


def _machine_path(text: str, tops: tuple[str, ...]) -> str | None:
    """Return the first absolute path in `text` that starts in one of the folders `tops`."""
    pattern = rf"(?<![\w.:/<~$}}])/(?:{'|'.join(map(re.escape, tops))})/[\w./-]*|\b[A-Z]:\\Users\\\w+"
    found = re.search(pattern, _BASE64.sub("", text))
    return found.group() if found else None


def _tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def _outputs(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """Yield every output with the index of its cell."""
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            yield index, output
