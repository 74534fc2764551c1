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
import importlib.machinery
import json
import modulefinder
import os
import site
import sys

asked = json.load(sys.stdin)
standard = [entry for entry in sys.path if entry]


def find_venv():
    """The directory of the virtual environment whose interpreter this is, which without site nobody has looked for."""
    for directory in [os.path.dirname(sys.executable), os.path.dirname(os.path.dirname(sys.executable))]:
        if os.path.isfile(os.path.join(directory, "pyvenv.cfg")):
            return directory
    return None


def find_sites():
    """Directories of installed packages, in the order in which site would add them."""
    version = "python%d.%d" % sys.version_info[:2]
    found = []
    if venv is not None:
        found.append(os.path.join(venv, "lib", version, "site-packages"))
        with open(config, encoding="utf-8") as text:
            pairs = [line.partition("=") for line in text]
        if not any(key.strip().lower() == "include-system-site-packages" and value.strip().lower() == "true"
                   for key, _, value in pairs):
            return found
    prefix = sys.base_prefix
    found += site.getsitepackages([prefix])
    if prefix == "/usr":
        found.append("/usr/local/lib/%s/dist-packages" % version)
    return found


venv = find_venv()
config = os.path.join(venv or "", "pyvenv.cfg")
sites = [entry for entry in dict.fromkeys(find_sites()) if os.path.isdir(entry)]


def read_path_file(path):
    """Directories that a .pth file adds, and its lines of code, which site would run (docs of the module site)."""
    directories, code = [], []
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as text:
            lines = [line.rstrip() for line in text]
    except OSError:
        return directories, code
    for line in lines:
        if line.startswith(("import ", "import\t")):
            code.append(line)
        elif line and not line.startswith("#") and "\0" not in line:
            directory = os.path.abspath(os.path.join(os.path.dirname(path), line))
            if os.path.isdir(directory):
                directories.append(directory)
    return directories, code


# By directory: the .pth file that adds it, and the code in that file.
added = {}
for entry in list(sites):
    for name in sorted(os.listdir(entry)):
        if name.endswith(".pth") and not name.startswith("."):
            directories, code = read_path_file(os.path.join(entry, name))
            for directory in directories:
                if directory not in sites:
                    added.setdefault(directory, (os.path.join(entry, name), tuple(code)))
sites += added


# Tools of the standard library that its other modules import for their own tests, self-documentation and installation.
LAZY = {"test", "lib2to3", "idlelib", "tkinter", "turtle", "turtledemo", "ensurepip", "pydoc", "pydoc_data", "pdb", "doctest",
        "unittest", "distutils", "venv"}


def is_standard(file):
    return file is not None and any(file.startswith(entry + os.sep) for entry in standard) \
        and not any(file.startswith(entry + os.sep) for entry in sites)


# A kind of module that modulefinder does not know.
NAMESPACE = object()


class Finder(modulefinder.ModuleFinder):
    """Remembers who imported what first."""

    def __init__(self, path):
        super().__init__(path)
        self.importers = {}
        self.namespaces = set()
        self.caller = None

    def find_module(self, name, path, parent=None):
        """Knows packages without __init__, too, which may have parts in several directories (PEP 420)."""
        if path is not None or name not in sys.builtin_module_names:
            where = self.path if path is None else path
            importlib.machinery.PathFinder.invalidate_caches()
            spec = importlib.machinery.PathFinder.find_spec(name, where)
            if spec is not None and spec.origin is None and spec.submodule_search_locations is not None:
                return None, tuple(spec.submodule_search_locations), ("", "", NAMESPACE)
        return super().find_module(name, path, parent)

    def import_hook(self, name, caller=None, fromlist=None, level=-1):
        if level <= 0 and name.partition(".")[0] in LAZY and is_standard(getattr(caller, "__file__", None)):
            raise ImportError(name)
        self.caller = caller
        return super().import_hook(name, caller, fromlist, level)

    def load_module(self, fqname, fp, pathname, file_info):
        if pathname and fqname not in self.importers:
            self.importers[fqname] = getattr(self.caller, "__file__", None)
        if file_info[2] == NAMESPACE:
            module = self.add_module(fqname)
            module.__path__ = list(pathname)
            self.namespaces.update(pathname)
            return module
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


def home_of(file):
    """The directory of installed packages that a file is in; the innermost, where one is in another."""
    return max((entry for entry in sites if file.startswith(entry + os.sep)), key=len, default=None)


def used_path_files():
    """The .pth files without which something that was found would not be."""
    homes = {home_of(os.path.abspath(module.__file__)) for module in finder.modules.values() if module.__file__}
    return {added[home] for home in homes if home in added}


# A .pth file comes whole, and what the code in it imports with it, which may come by another one.
path_files = set()
while True:
    news = used_path_files() - path_files
    if not news:
        break
    path_files |= news
    for path, code in sorted(news):
        for line in code:
            try:
                finder.scan_code(compile(line, path, "exec"), finder.add_module(os.path.basename(path)))
            except SyntaxError:
                pass
# What the interpreter itself loads when it starts, with site.
for name in ["site", "os", "io", "abc", "codecs", "stat", "posixpath", "genericpath", "_sitebuiltins", "zipimport",
             "encodings", "warnings", "sysconfig"]:
    try:
        finder.import_hook(name)
    except ImportError:
        pass



def package_of(file):
    """The directory that comes whole with an installed file: of a package without __init__ only the part that was asked for."""
    top = home_of(file)
    if top is None:
        return None
    for name in os.path.relpath(file, top).split(os.sep):
        top = os.path.join(top, name)
        if top not in finder.namespaces:
            return top if os.path.isdir(top) else None
    return None


files, packages, landmarks = [], {}, sorted(path for path, _ in path_files)
for name, module in sorted(finder.modules.items()):
    file = getattr(module, "__file__", None)
    if not file or name == "__main__":
        continue
    file = os.path.abspath(file)
    by = finder.importers.get(name)
    top = package_of(file)
    if top is not None:
        packages.setdefault(top, by)
    else:
        files.append([name, file, by])

# encodings are loaded by names that are not known before.
encodings = os.path.join(os.path.dirname(os.__file__), "encodings")
for name in sorted(os.listdir(encodings)):
    if name.endswith(".py"):
        files.append(["encodings." + name[:-3], os.path.join(encodings, name), None])
landmarks.append(os.__file__)
if venv is not None:
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
