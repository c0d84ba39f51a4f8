"""What the two pages share, and how the modules of one become a single script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hrpro
from hrpro.pipeline.web.bundle import bundle

ROOT = Path(hrpro.__file__).parent / "pipeline"


def script(folder: Path, **modules: str) -> str:
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text, encoding="utf-8")
    return bundle(folder, "main.js")


def test_modules_keep_their_names_to_themselves(tmp_path, browser):
    joined = script(
        tmp_path,
        main='import { a } from "./one.js";\nimport {\n  b,\n} from "./two.js";\n'
        "const own = 4;\nwindow.answer = [a(), b, own].join();\n",
        one="const own = 1;\nexport function a() {\n  return own;\n}\n",
        two='import { a } from "./one.js";\nconst own = 2;\nexport const b = own + a();\n',
    )
    assert joined.count("return own;") == 1  # a module that two others want is there once
    page = browser.new_page()
    page.evaluate(joined)
    assert page.evaluate("window.answer") == "1,3,4"
    page.close()


@pytest.mark.parametrize("line", ["export default 1;", 'import * as x from "./x.js";'])
def test_other_forms_of_import_and_export_are_refused(tmp_path, line):
    with pytest.raises(ValueError, match=r"main\.js: only imports and exports by name"):
        script(tmp_path, main=line + "\n")


@pytest.mark.parametrize("page", ["label", "report"])
def test_everything_that_is_exported_is_used_by_another_module(page):
    own = {path: path.read_text("utf-8") for path in (ROOT / page / "static").glob("*.js")}
    everything = {path: path.read_text("utf-8") for path in ROOT.glob("*/static/*.js")}
    for path, text in own.items():
        for name in re.findall(r"^export (?:async )?(?:function|class|const) (\w+)", text, re.M):
            users = [other for other, code in everything.items() if re.search(rf"\b{name}\b", code)]
            assert len(users) > 1, f"{path.name} exports {name} for nobody"
