"""Prints which files a Python program imports, as JSON, without running any of it.

Started by configer with the interpreter of the sandbox, isolated and without site (-I -S): no code of installed packages
runs. Reads one JSON object from standard input:
  path     directories to look in before those of the standard library (of the script, of PYTHONPATH)
  script   a file, or null
  code     source text, or null
  module   a module's name (-m), or null
Writes: {"files": [[name, file, importer's file]], "packages": [[directory, importer's file]], "landmarks": [file],
"missing": [[name, importer]], "needed": [name]}. `packages` are those of site-packages, which are to be taken whole;
`needed` are the missing ones without which the script ends at once.
"""
import ast
import json
import modulefinder
import os
import site
import sys

asked = json.load(sys.stdin)
prefix = sys.prefix
config = os.path.join(os.path.dirname(os.path.dirname(sys.executable)), "pyvenv.cfg")
standard = [entry for entry in sys.path if entry]
sites = [entry for entry in site.getsitepackages([prefix]) if os.path.isdir(entry)]
if prefix == "/usr":
    sites += [entry for entry in ["/usr/local/lib/python%d.%d/dist-packages" % sys.version_info[:2]]
              if os.path.isdir(entry) and entry not in sites]


# Tools of the standard library that its other modules import for their own tests, self-documentation and installation.
LAZY = {"test", "lib2to3", "idlelib", "tkinter", "turtle", "turtledemo", "ensurepip", "pydoc", "pydoc_data", "pdb", "doctest",
        "unittest", "distutils", "venv"}


def is_standard(file):
    return file is not None and any(file.startswith(entry + os.sep) for entry in standard) \
        and not any(file.startswith(entry + os.sep) for entry in sites)


class Finder(modulefinder.ModuleFinder):
    """Remembers who imported what first."""

    def __init__(self, path):
        super().__init__(path)
        self.importers = {}
        self.caller = None

    def import_hook(self, name, caller=None, fromlist=None, level=-1):
        if level <= 0 and name.partition(".")[0] in LAZY and is_standard(getattr(caller, "__file__", None)):
            raise ImportError(name)
        self.caller = caller
        return super().import_hook(name, caller, fromlist, level)

    def load_module(self, fqname, fp, pathname, file_info):
        if pathname and fqname not in self.importers:
            self.importers[fqname] = getattr(self.caller, "__file__", None)
        caller = self.caller
        try:
            return super().load_module(fqname, fp, pathname, file_info)
        except SyntaxError:
            return self.add_module(fqname)
        finally:
            self.caller = caller


finder = Finder(asked["path"] + standard + sites)
if asked["script"]:
    if os.path.isdir(asked["script"]):
        finder.path.insert(0, asked["script"])
        finder.run_script(os.path.join(asked["script"], "__main__.py"))
    else:
        finder.run_script(asked["script"])
if asked["code"]:
    module = finder.add_module("__main__")
    finder.scan_code(compile(ast.parse(asked["code"]), "<command>", "exec"), module)
if asked["module"]:
    finder.import_hook(asked["module"], None, ["__main__"], 0)
    try:
        finder.import_hook(asked["module"] + ".__main__", None, None, 0)
    except ImportError:
        pass
    finder.import_hook("runpy")
# What the interpreter itself loads when it starts, with site.
for name in ["site", "os", "io", "abc", "codecs", "stat", "posixpath", "genericpath", "_sitebuiltins", "zipimport",
             "encodings", "warnings", "sysconfig"]:
    try:
        finder.import_hook(name)
    except ImportError:
        pass

files, packages, landmarks = [], {}, []
for name, module in sorted(finder.modules.items()):
    file = getattr(module, "__file__", None)
    if not file or name == "__main__":
        continue
    file = os.path.abspath(file)
    by = finder.importers.get(name)
    home = next((entry for entry in sites if file.startswith(entry + os.sep)), None)
    top = None if home is None else os.path.join(home, os.path.relpath(file, home).split(os.sep)[0])
    if top is not None and os.path.isdir(top):
        packages.setdefault(top, by)
    else:
        files.append([name, file, by])

# encodings are loaded by names that are not known before.
encodings = os.path.join(os.path.dirname(os.__file__), "encodings")
for name in sorted(os.listdir(encodings)):
    if name.endswith(".py"):
        files.append(["encodings." + name[:-3], os.path.join(encodings, name), None])
landmarks.append(os.__file__)
if os.path.isfile(config):
    landmarks.append(config)
absent = set(finder.any_missing_maybe()[0])
missing = []
for name in sorted(absent):
    by = sorted(str(one) for one in finder.badmodules.get(name, {}) if one != "-")
    by = [one for one in by if one == "__main__" or not is_standard(getattr(finder.modules.get(one), "__file__", None))]
    if by:
        missing.append([name, by[0]])


def imported_at_once(text):
    """Names that the text imports before anything else can happen: not in a function, not in a try."""
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.level == 0:
            yield statement.module


text = asked["code"]
if asked["script"] and os.path.isfile(asked["script"]):
    with open(asked["script"], "rb") as script:
        text = script.read()
needed = sorted(name for name in imported_at_once(text or "") if name in absent)
json.dump({"files": files, "packages": sorted(packages.items()), "landmarks": landmarks, "missing": missing,
           "needed": needed}, sys.stdout)
