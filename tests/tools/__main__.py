"""Writes every generated file: `python -m tests.tools`."""

from __future__ import annotations

from tests.parity import deviations
from tests.tools import make_clients, make_stubs, make_table

make_stubs.STUB.write_text(make_stubs.stub(), encoding="utf-8")
make_table.README.write_text(make_clients.readme(make_table.readme()), encoding="utf-8")
deviations.TABLE.write_text(deviations.table(), encoding="utf-8")
