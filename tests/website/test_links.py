"""A built site is checked for broken links and for files from other hosts."""

from pathlib import Path

from website.links import problems


def site(folder: Path, **pages: str) -> Path:
    for name, body in pages.items():
        path = folder / name / "index.html" if name != "home" else folder / "index.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<html><body>{body}</body></html>", encoding="utf-8")
    return folder


def test_a_sound_site_has_no_problems(tmp_path: Path):
    (tmp_path / "a b.png").write_bytes(b"")
    assert not problems(
        site(
            tmp_path,
            home='<a href="about/#who">1</a><img src="a%20b.png"><a href="mailto:a@b.c">2</a>',
            about='<h2 id="who"></h2><a href="../">3</a><a href="https://example.org">4</a>',
        )
    )


def test_broken_links_are_listed_with_their_page(tmp_path: Path):
    found = problems(
        site(
            tmp_path,
            home='<a href="gone/">1</a><a href="about/#nobody">2</a><img src="gone.png">',
            about='<a href="#top">3</a>',
        )
    )
    assert found == [
        "about/index.html: no such anchor: #top",
        "index.html: no such page or file: gone/",
        "index.html: no such anchor: about/#nobody",
        "index.html: no such page or file: gone.png",
    ]


def test_nothing_is_loaded_from_another_host(tmp_path: Path):
    page = (
        '<link rel="stylesheet" href="https://fonts.example.org/a.css">'
        '<script src="//cdn.example.org/a.js"></script><link rel="canonical" href="https://a.b/">'
    )
    assert problems(site(tmp_path, home=page)) == [
        "index.html: loaded from another host: https://fonts.example.org/a.css",
        "index.html: loaded from another host: //cdn.example.org/a.js",
    ]


def test_absolute_links_begin_at_the_folder_of_the_site_on_its_server(tmp_path: Path):
    (tmp_path / "style.css").write_bytes(b"")
    page = '<link href="/blood/style.css"><a href="/blood/gone/">1</a><a href="/style.css">2</a>'
    assert problems(site(tmp_path, home=page), "/blood/") == [
        "index.html: no such page or file: /blood/gone/",
        "index.html: outside the site: /style.css",
    ]
