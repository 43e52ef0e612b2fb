"""Texts to learn from: sentences, headings, "how to" questions and sections of documentation.

All of it comes from published packages whose licence is permissive, through their ordinary clients: crates out of
Cargo's local sources, PyPI packages by `pip download`, npm packages by `npm pack`. The packages the
evaluation asks about (Python, PostgreSQL, Node.js, Django, Rust's own books) are in none of the lists.
"""

import ast
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

PERMISSIVE = re.compile(r"\b(mit|apache|bsd|isc|0bsd|zlib|unlicense|cc0|hpnd|psf|python software foundation)\b", re.I)
COPYLEFT = re.compile(r"\b(a?gpl|lgpl|mpl|sspl|busl|cc-by-nc|proprietary)", re.I)

PYPI = """requests flask click jinja2 rich httpx pydantic sqlalchemy attrs aiohttp networkx pytest black celery redis
    starlette fastapi uvicorn typer marshmallow cryptography pyyaml werkzeug tornado boto3 scrapy alembic gunicorn
    peewee loguru tenacity arrow hypothesis dask joblib scikit-learn sympy pandas""".split()
NPM = """express axios lodash react-query commander chalk yargs webpack vite rollup eslint prettier jest mocha zod ajv
    socket.io ws mongoose knex sequelize pg redis ioredis passport helmet cors morgan winston pino dotenv date-fns dayjs
    moment rxjs immer zustand redux react-router vue-router pinia fastify koa hapi body-parser multer sharp cheerio
    puppeteer nodemailer bull uuid nanoid async bluebird p-limit got node-fetch undici marked highlight.js""".split()


def is_permissive(licence):
    return bool(PERMISSIVE.search(licence)) and not COPYLEFT.search(licence)


def crates(cargo_home):
    """READMEs and doc comments of the crates in Cargo's local sources."""
    for manifest in sorted(Path(cargo_home).glob("registry/src/*/*/Cargo.toml")):
        try:
            package = tomllib.loads(manifest.read_text()).get("package", {})
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            continue
        if not is_permissive(str(package.get("license", ""))):
            continue
        for readme in manifest.parent.glob("README*"):
            yield readme.read_text(errors="replace")
        for source in sorted(manifest.parent.glob("src/**/*.rs")):
            comments = re.findall(r"^[ \t]*//[/!] ?(.*)$", source.read_text(errors="replace"), re.M)
            yield "\n".join(comments)


def fetched(folder, names, client):
    """The archives of `names` in `folder`, fetched one by one where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        marker = folder / (name.replace("/", "+") + ".done")
        if not marker.exists():
            done = subprocess.run(client(name), cwd=folder, capture_output=True, text=True)
            if done.returncode:
                print(f"{name} could not be fetched", file=sys.stderr)
            marker.touch()
    return sorted(path for path in folder.iterdir() if path.suffix in {".whl", ".tgz", ".gz", ".zip"})


def pypi(folder):
    """Descriptions and docstrings of PyPI packages."""
    pip = lambda name: [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--prefer-binary", name]
    for path in fetched(folder, PYPI, pip):
        if path.suffix != ".whl":
            continue
        with zipfile.ZipFile(path) as wheel:
            names = wheel.namelist()
            metadata = next((name for name in names if name.endswith(".dist-info/METADATA")), None)
            text = wheel.read(metadata).decode(errors="replace") if metadata else ""
            head, _, description = text.partition("\n\n")
            if not is_permissive("\n".join(line for line in head.splitlines() if "icense" in line)):
                continue
            yield description
            for name in names:
                if name.endswith(".py") and "/tests/" not in name:
                    yield from docstrings(wheel.read(name).decode(errors="replace"))


def docstrings(source):
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    yield from filter(None, (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)))


def npm(folder):
    """READMEs of npm packages."""
    for path in fetched(folder, NPM, lambda name: ["npm", "pack", "--silent", name]):
        if path.suffix != ".tgz":
            continue
        with tarfile.open(path) as archive:
            members = {member.name.split("/", 1)[-1].lower(): member for member in archive if member.isfile()}
            manifest = members.get("package.json")
            package = json.load(archive.extractfile(manifest)) if manifest else {}
            readme = members.get("readme.md")
            if readme and is_permissive(str(package.get("license", ""))):
                yield archive.extractfile(readme).read().decode(errors="replace")


FENCE = re.compile(r"^(```|~~~)[^\n]*\n.*?^(```|~~~)[ \t]*$", re.M | re.S)
NOISE = re.compile(r"!\[[^\]]*\]\([^)]*\)|<[^>\n]{1,200}>|^\[[^\]]+\]: .*$|^\s*[|=+*~^-]{3,}.*$", re.M)
LINK = re.compile(r"\[([^\]]+)\](\([^)]*\)|\[[^\]]*\])")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$|^(\S[^\n]{2,80})\n(?:=|-|~){4,}$", re.M)
SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[A-Z`])|\n\s*\n|\n\s*[-*] ")


def cut(text):
    """Short texts and sections of one document, each as `(kind, text)`."""
    sections = []
    at, title = 0, ""
    for found in HEADING.finditer(text):
        sections.append((title, text[at : found.start()]))
        at, title = found.end(), (found.group(1) or found.group(2) or "").strip("` ")
    sections.append((title, text[at:]))
    for title, body in sections:
        prose = LINK.sub(r"\1", NOISE.sub(" ", body))
        if 3 < len(title) < 120:
            yield "short", title
            verb = re.match(r"([A-Z][a-z]+)ing (.+)", title)
            if verb:
                yield "short", f"how to {verb.group(1).lower()} {verb.group(2)}"
        words = " ".join(prose.split())
        if 200 < len(words):
            yield "section", f"{title}\n{words[:1200]}".strip()
        for sentence in SENTENCE.split(FENCE.sub("\n\n", prose)):
            sentence = " ".join(sentence.split())
            if 24 <= len(sentence) <= 300 and sum(map(str.isalpha, sentence)) > 0.6 * len(sentence):
                yield "short", sentence
