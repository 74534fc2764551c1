/**
 * What the C library loads by name to look up users and host names: the modules that /etc/nsswitch.conf of the sandbox names
 * (nsswitch.conf(5)). From glibc 2.34 on `files` and `dns` are built in.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { elfOf, librariesOf } from './libraries.ts';
import type { Rule, RuleContext, Want } from './rule.ts';

const BUILT_IN = ['files', 'dns'];
const SINCE = 'GLIBC_2.34';
/** What the C library does without the file. */
const WITHOUT = ['files', 'dns'];
const MAX_BYTES = 65_536;

export const nameServices: Rule = {
  name: 'nameServices',
  wants(context) {
    const services = servicesOf(context);
    return librariesOf(context, (name) => name === 'libc.so.6').flatMap(({ place, chain }) => {
      const builtIn = elfOf(place, chain)?.mentions(SINCE) ?? false;
      return services
        .filter((service) => !builtIn || !BUILT_IN.includes(service))
        .map((service): Want => {
          const name = `libnss_${service}.so.2`;
          return {
            as: 'library',
            name,
            loadedBy: place,
            chain: [...chain, name],
            rule: 'nameServices',
            by: place.inside,
          };
        });
    });
  },
};

/** The services of all databases, each once: `passwd: files systemd` and the like; actions in brackets left out. */
function servicesOf({ base, declared, share }: RuleContext): string[] {
  const own = declared.find('/etc/nsswitch.conf', '/nonexistent')?.host;
  const path = own ?? (base.etc === 'minimal' ? join(share, 'etc/nsswitch.conf') : undefined);
  if (path === undefined) return WITHOUT;
  try {
    const text = readFileSync(path, 'utf8').slice(0, MAX_BYTES);
    const lines = text.split('\n').map((line) => line.replace(/#.*/, '').replaceAll(/\[[^\]]*\]/g, ' '));
    const words = lines.flatMap((line) => /^\s*[a-z]+\s*:(.*)/.exec(line)?.[1]?.trim().split(/\s+/) ?? []);
    return [...new Set(words.filter((word) => /^[a-z0-9_]+$/.test(word)))];
  } catch {
    return WITHOUT; // its failure is reported where the file is taken
  }
}
