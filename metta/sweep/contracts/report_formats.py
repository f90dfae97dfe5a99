"""Findings as files that other programs read: SARIF for code scanning, JUnit for the test reports of a CI server.

Pure functions of sorted findings, reached through `format_diagnostics`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from metta.sweep.contracts.diagnostics import CODES, Diagnostic, Severity

_TOOL = "metta-sweep"
_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

# What XML 1.0, section 2.2, has no way to write, not even escaped.
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_sarif(found: Sequence[Diagnostic]) -> str:
    """A log of the Static Analysis Results Interchange Format, version 2.1.0 (OASIS): one run, a rule for each code.

    Args:
        found: in the order of the results.
    """
    import json

    codes = list(CODES)
    log = {
        "$schema": _SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": _TOOL,
                        "rules": [{"id": code, "shortDescription": {"text": CODES[code]}} for code in codes],
                    }
                },
                "results": [_sarif_result(d, codes.index(d.code)) for d in found],
            }
        ],
    }
    return json.dumps(log, indent=2, ensure_ascii=False)


def _sarif_result(d: Diagnostic, rule: int) -> dict[str, object]:
    place = {"artifactLocation": {"uri": _uri(d.file)}, "region": {"startLine": d.line}}
    return {
        "ruleId": d.code,
        "ruleIndex": rule,
        "level": "error" if d.severity is Severity.ERROR else "note",
        "message": {"text": _whole(d)},
        "locations": [{"physicalLocation": place}],
    }


def _uri(file: str) -> str:
    """A path below the working directory stays relative, so that it holds in every checkout."""
    from pathlib import Path
    from urllib.parse import quote

    return Path(file).as_uri() if os.path.isabs(file) else quote(file.replace(os.sep, "/"))


def as_junit(found: Sequence[Diagnostic], files: Iterable[str] = ()) -> str:
    """A JUnit test report: each error is a failed test, each file without an error a passed one.

    GitLab and Jenkins show one failure for each test, so errors do not share one. Notes are the suite's output.

    Args:
        found: in the order of the tests.
        files: what was checked, as findings name it; those with findings need not be among them.
    """
    from xml.etree import ElementTree as Xml

    errors = [d for d in found if d.severity is Severity.ERROR]
    failed = {d.file for d in errors}
    passed = sorted({*files, *(d.file for d in found)} - failed)
    counts = {"tests": str(len(errors) + len(passed)), "failures": str(len(errors)), "errors": "0", "skipped": "0"}
    root = Xml.Element("testsuites")
    suite = Xml.SubElement(root, "testsuite", {"name": f"{_TOOL} check", **counts})
    for d in errors:
        name = f"line {d.line}: {d.code}" + (f' in stage "{d.stage}"' if d.stage else "")
        case = Xml.SubElement(suite, "testcase", _xml_values(classname=d.file, name=name, file=d.file))
        failure = Xml.SubElement(case, "failure", _xml_values(type=d.code, message=d.message))
        failure.text = _xml(_told(d))
    for file in passed:
        Xml.SubElement(suite, "testcase", _xml_values(classname=file, name="no error", file=file))
    if notes := [_told(d) for d in found if d.severity is Severity.NOTE]:
        Xml.SubElement(suite, "system-out").text = _xml("\n".join(notes))
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode")


def _whole(d: Diagnostic) -> str:
    return "\n".join(part for part in (d.message, d.remedy) if part)


def _told(d: Diagnostic) -> str:
    return "\n".join([f"{d.file}:{d.line}: {d.message}  [{d.code}]", *d.remedy.splitlines()])


def _xml_values(**values: str) -> dict[str, str]:
    return {name: _xml(value) for name, value in values.items()}


def _xml(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)
