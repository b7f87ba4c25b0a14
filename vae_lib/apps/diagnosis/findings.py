"""What an examination says: its findings, what was checked, and what could not be."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import pandas as pd


@dataclass(frozen=True)
class Finding:
    """A fault, or a remark on what is no fault but should be known.

    Attributes:
        name: Of the fault, such as "posterior collapse".
        evidence: What shows it, with the numbers.
        remedy: What to change.
        is_fault: Whether it is more than a remark.
    """

    name: str
    evidence: str
    remedy: str
    is_fault: bool = True


@dataclass(frozen=True)
class Diagnosis:
    """The result of `diagnose`; as text, what the command line prints.

    Attributes:
        findings: Faults first; empty where nothing was found.
        checked: Names of the checks that were made.
        not_checked: Name -> what it needs, of those that could not be.
    """

    findings: list[Finding]
    checked: list[str]
    not_checked: dict[str, str]

    @property
    def faults(self) -> list[Finding]:
        """The findings that are more than remarks."""
        return [finding for finding in self.findings if finding.is_fault]

    def to_dict(self) -> dict:
        """Return everything as what JSON can hold."""
        return asdict(self)

    def __str__(self) -> str:
        several = "faults, causes first: repair the first, and look again"
        lines = ["no fault found"] if not self.faults else [several] if len(self.faults) > 1 else []
        for finding in self.findings:
            kind = "FAULT" if finding.is_fault else "remark"
            lines += [f"{kind}: {finding.name}", f"    {finding.evidence}", f"    remedy: {finding.remedy}"]
        lines.append(f"checked: {', '.join(self.checked) or 'nothing'}")
        lines += [f"not checked: {name} (needs {needs})" for name, needs in self.not_checked.items()]
        return "\n".join(lines)


def first_faults(diagnoses: Mapping[str, Diagnosis]) -> pd.DataFrame:
    """Return a row for each training: the names of its faults, and evidence and remedy of the first."""
    rows = {}
    for name, diagnosis in diagnoses.items():
        names = ", ".join(dict.fromkeys(fault.name for fault in diagnosis.faults))
        first = diagnosis.faults[0] if diagnosis.faults else Finding("", "", "")
        rows[name] = {"faults": names or "none", "evidence": first.evidence, "remedy": first.remedy}
    return pd.DataFrame.from_dict(rows, orient="index")


def check(name: str, *alternatives: str) -> Callable:
    """Mark a function as a check, which yields findings.

    Args:
        name: Of the check, as it is printed.
        alternatives: Names of the facts that it needs, separated by spaces; any one of them is enough. The
            function gets all facts that its arguments name, and None for those that are unknown.
    """

    def mark(function):
        function.check_name = name
        function.needs = tuple(tuple(names.split()) for names in alternatives)
        return function

    return mark
