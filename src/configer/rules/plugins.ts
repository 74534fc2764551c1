/** Plugins of libraries that are known to have some, in a directory beside the library. */
import { readdirSync } from 'node:fs';
import { posix } from 'node:path';
import { beside, librariesOf } from './libraries.ts';
import type { Rule, Want } from './rule.ts';

type Plugins = { readonly library: RegExp; readonly directory: string };

const KNOWN: readonly Plugins[] = [
  { library: /^libcrypto\.so\.3$/, directory: 'ossl-modules' },
  { library: /^libcrypto\.so\.1\.1$/, directory: 'engines-1.1' },
  { library: /^libsasl2\.so\./, directory: 'sasl2' },
  { library: /^libgssapi_krb5\.so\./, directory: 'krb5/plugins/preauth' },
  { library: /^libp11-kit\.so\./, directory: 'pkcs11' },
];

export const plugins: Rule = {
  name: 'plugins',
  wants: (context) =>
    KNOWN.flatMap(({ library, directory }) =>
      librariesOf(context, (name) => library.test(name)).flatMap((found) => {
        const { host, inside } = beside(found, directory);
        return sharedObjectsIn(host).map(
          (name): Want => ({
            as: 'object',
            place: { host: posix.join(host, name), inside: posix.join(inside, name) },
            chain: [...found.chain, name],
            rule: 'plugins',
            by: found.place.inside,
          }),
        );
      }),
    ),
};

function sharedObjectsIn(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => name.endsWith('.so'))
      .toSorted();
  } catch {
    return []; // the package with the plugins is not installed
  }
}
