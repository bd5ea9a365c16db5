"""Sphinx's settings. The pages come from docs/build.py; who we are comes from settings.ini."""
import configparser
from pathlib import Path

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).resolve().parent.parent
_settings = configparser.ConfigParser(delimiters=['='], interpolation=None)
_settings.read(ROOT / 'settings.ini', encoding='utf-8')
who = _settings['DEFAULT']

project = who['repo']
author = who['author']
copyright = who['author']
version = release = who['version']
language = 'en'

extensions = ['myst_nb', 'sphinx_design', 'sphinx_copybutton', 'sphinx.ext.mathjax']
exclude_patterns = ['_static']
suppress_warnings = ['myst.header']  # a notebook may begin its sections where it likes; HTML's levels follow the nesting
add_module_names = False
toc_object_entries_show_parents = 'domain'

# Notebooks carry their outputs: nothing is run here.
nb_execution_mode = 'off'
nb_render_markdown_format = 'gfm'
nb_merge_streams = True
# Our widgets live without a kernel and without a CDN: a few lines mount the modules that the pages carry.
nb_ipywidgets_js = {'mount.js': {}}
myst_enable_extensions = ['attrs_block', 'attrs_inline', 'colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 4
myst_links_external_new_tab = False
mathjax_path = 'vendor/tex-svg.js'
copybutton_prompt_text = r'>>> |\$ '
copybutton_prompt_is_regexp = True
copybutton_exclude = '.linenos, .gp, .go'

html_theme = 'pydata_sphinx_theme'
html_title = project
html_static_path = [str(ROOT / 'build/site/_static')]  # docs/static and the thumbnails
html_css_files = ['site.css']
html_favicon = 'static/favicon.svg'
html_baseurl = f"https://{who['user']}.github.io/{who['repo']}/"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_context = dict(github_user=who['user'], github_repo=who['repo'], github_version=who['branch'],
                    doc_path='nbs', default_mode='auto')
html_theme_options = dict(
    logo=dict(image_light='_static/logo.svg', image_dark='_static/logo.svg', text=project, alt_text=f'{project}: home'),
    icon_links=[dict(name='GitHub', url=f"https://github.com/{who['user']}/{who['repo']}", icon='fa-brands fa-github')],
    use_edit_page_button=True,
    header_links_before_dropdown=5,
    navbar_align='left',
    navigation_with_keys=False,
    show_toc_level=2,
    secondary_sidebar_items={'**': ['page-toc', 'edit-this-page'], 'recipes/index': [], 'search': [], 'genindex': []},
    footer_start=['copyright'],
    footer_end=[],
    pygments_light_style='a11y-high-contrast-light',
    pygments_dark_style='a11y-high-contrast-dark',
)
html_sidebars = {'index': [], 'chapter': [], 'data': [], 'speed': [], 'contributing': [], 'changelog': []}



def source_of(pagename):
    "The file that a page is made of, or None."
    folder, _, name = pagename.rpartition('/')
    pattern = {'recipes': f'nbs/recipes/{name}.ipynb', 'api': f'nbs/api/[0-9]*_{name}.ipynb'}.get(folder)
    tops = {'index': 'nbs/index.ipynb', 'data': 'nbs/api/*_datasets.ipynb', 'contributing': 'CONTRIBUTING.md', 'changelog': 'CHANGELOG.md'}
    found = next(ROOT.glob(pattern or tops.get(pagename, 'none')), None)
    return found and found.relative_to(ROOT).as_posix()


def edit_link(app, pagename, templatename, context, doctree):
    "Each page's edit link leads to the file that it was made from."
    source = source_of(pagename)
    url = f"https://github.com/{who['user']}/{who['repo']}/edit/{who['branch']}/{source}"
    if source: context['get_edit_provider_and_url'] = lambda: ('GitHub', url)
    else: context['theme_use_edit_page_button'] = False


def within_link(node):
    return node is not None and (isinstance(node, nodes.reference) or within_link(node.parent))


class LinkNames(SphinxPostTransform):
    "`Sensor` in a text becomes a link to its definition."
    default_priority = 100

    def run(self):
        objects = {name.split('.', 2)[-1]: entry for name, entry in self.env.domaindata['py']['objects'].items()}
        for node in list(self.document.findall(nodes.literal)):
            entry = objects.get(node.astext().partition('(')[0])
            if entry is None or isinstance(node.parent, nodes.title) or within_link(node): continue
            node.replace_self(make_refnode(self.app.builder, self.env.docname, entry.docname, entry.node_id, node.deepcopy()))


def setup(app):
    app.add_post_transform(LinkNames)
    app.connect('html-page-context', edit_link, priority=900)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
