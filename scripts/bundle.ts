/** Makes dist/cli/jailor-run.cjs of src/cli/jailor-run.ts and of all that it imports of this project. */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const HOME = join(import.meta.dirname, '..');
const TARGET = join(HOME, 'dist/cli/jailor-run.cjs');

/** Packages that stay where they are: the first is a native addon, the second is not needed before a sandbox runs. */
const OUTSIDE = ['koffi', 'zod'];

type Loaded = { readonly contents: string; readonly resolveDir: string };
type Setup = { onLoad(where: { readonly filter: RegExp }, load: () => Loaded): void };
/** What is used of esbuild. */
type Esbuild = {
  build(options: Readonly<Record<string, unknown>>): Promise<{
    readonly metafile: { readonly inputs: Readonly<Record<string, unknown>> };
    readonly outputFiles: readonly { readonly contents: Uint8Array }[];
  }>;
};

/** A configuration that a person gives is mostly YAML: its parser's seventy files are part of the bundle. */
const YAML_INSIDE = {
  name: 'yaml inside',
  setup(build: Setup) {
    build.onLoad({ filter: /\/src\/base\/yaml-parser\.ts$/ }, () => ({
      contents: "export const loadYamlParser = () => require('yaml');",
      resolveDir: HOME,
    }));
  },
};

async function bundle({ build }: Esbuild, sources: readonly string[]) {
  return build({
    ...{ absWorkingDir: HOME, entryPoints: ['src/cli/jailor-run.ts'], outfile: TARGET, write: false, metafile: true },
    ...{ bundle: true, platform: 'node', target: 'node24', format: 'cjs', external: OUTSIDE, logLevel: 'warning' },
    plugins: [YAML_INSIDE],
    // The bundle lies as deep below the project as the sources that ask where they are.
    define: {
      'import.meta.dirname': '__dirname',
      'import.meta.url': 'bundleUrl',
      BUNDLED_SOURCES: JSON.stringify(sources),
    },
    banner: { js: "const bundleUrl = require('node:url').pathToFileURL(__filename).href;" },
  });
}

/** @returns undefined: the packages of this checkout are older than its package.json. */
function loadEsbuild(): Esbuild | undefined {
  try {
    return createRequire(import.meta.url)('esbuild') as Esbuild;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return undefined;
    throw thrown;
  }
}

const esbuild = loadEsbuild();
if (esbuild === undefined) {
  rmSync(TARGET, { force: true });
  process.stderr.write(
    "comicran build: no bundle for quick starts: esbuild is missing. 'npm run setup' installs it.\n",
  );
} else {
  const { metafile } = await bundle(esbuild, []);
  const sources = Object.keys(metafile.inputs).filter((path) => path.startsWith('src/'));
  const { outputFiles } = await bundle(esbuild, sources);
  // A start that comes in between finds the old one or the new one, whole.
  writeFileSync(`${TARGET}.next`, outputFiles[0]!.contents);
  renameSync(`${TARGET}.next`, TARGET);
}
