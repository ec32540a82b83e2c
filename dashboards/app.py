"""The dashboard: a router over ``questions/``. Run by ``caseness dashboard``; it opens releases and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

# A picture of our own: a named icon or an emoji would be fetched from outside.
st.set_page_config(page_title="caseness", page_icon=str(Path(__file__).parent / "icon.svg"), layout="wide")
st.markdown(
    "<style>.block-container{padding-top:3.2rem;max-width:75rem}"
    "@media (max-width:640px){.block-container{padding-left:.8rem;padding-right:.8rem}h1{font-size:1.7rem}}</style>",
    unsafe_allow_html=True,
)
# A page is one file: its first line names it, the number in its name is its place. A folder named "pages" Streamlit
# would list by itself, and not find a bookmark that is opened first.
_FOLDER = Path(__file__).parent / "questions"
_PAGES: list[Any] = []
for _file in sorted(_FOLDER.glob("p[0-9]*_*.py")):
    _title = _file.read_text(encoding="utf-8").split('"""')[1].split(":")[0].strip()
    _PAGES.append(st.Page(_file, title=_title, url_path=_file.stem.split("_", 1)[1], default=not _PAGES))
st.navigation(_PAGES).run()
