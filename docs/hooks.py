"""What mkdocs is taught for this site: pages that stand elsewhere in the repository, and a check of what was built.

README.md, CHANGELOG.md and CONTRIBUTING.md are pages of the site too. They stay where people and package indexes look
for them; here only their links are changed to what they are from the site's root.
"""

import re
from pathlib import Path
from urllib.parse import unquote, urldefrag

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Files at the root of the repository, and the pages that they become."""


def on_files(files, config):
    """Add the pages that stand at the root of the repository."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
        for other, its_page in PAGES.items():
            text = text.replace(f"]({other})", f"]({its_page})")
        files.append(File.generated(config, page, content=text))
    return files


def on_post_build(config):
    """Stop if a page asks another machine for anything, or a link within the site leads nowhere.

    mkdocs checks links between Markdown files. This also sees those that plugins and the theme have made.
    """
    site = Path(config["site_dir"])
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html") if path.name != "404.html"}
    anchors = {path: set(re.findall(r'\b(?:id|name)="([^"]+)"', text)) for path, text in pages.items()}
    wrong = []
    for path, text in pages.items():
        name = path.relative_to(site)
        # A link that is followed by a click may lead elsewhere; what is loaded with the page may not.
        loaded = re.findall(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="([^"]+)"', text)
        loaded += re.findall(r'<link\b[^>]*\brel="(?:stylesheet|icon|preconnect)"[^>]*\bhref="([^"]+)"', text)
        loaded += re.findall(r'<link\b[^>]*\bhref="([^"]+)"[^>]*\brel="(?:stylesheet|icon|preconnect)"', text)
        wrong += [f"{name} loads {url}" for url in loaded if re.match(r"(https?:)?//", url)]
        for url in {*loaded, *re.findall(r'<a\b[^>]*\bhref="([^"]+)"', text)}:
            if re.match(r"[a-z]+:|//", url):
                continue
            link, fragment = urldefrag(unquote(url))
            target = (path.parent / link).resolve() if link else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                wrong.append(f"{name} links to {url}, which is not there")
            elif fragment and target in anchors and fragment not in anchors[target] and fragment != "__skip":
                wrong.append(f"{name} links to {url}: the page has no such anchor")
    if wrong:
        raise PluginError("\n".join(["the site is not whole:", *sorted(wrong)]))
