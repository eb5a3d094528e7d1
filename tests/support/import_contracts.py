"""A contract of import-linter: nothing imports modules of certain names."""

from __future__ import annotations

from fnmatch import fnmatch

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class NothingImports(Contract):
    """Modules whose last name matches a pattern of `named` are imported by no other module."""

    type_name = "nothing_imports"
    named = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        found = [
            (importer, module)
            for module in graph.modules
            if any(fnmatch(module.rpartition(".")[2], pattern) for pattern in self.named)
            for importer in graph.find_modules_that_directly_import(module)
        ]
        return ContractCheck(kept=not found, metadata={"found": sorted(found)})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, module in check.metadata["found"]:
            output.print_error(
                f"{importer} imports {module}: move what both need into a module without tests"
            )
