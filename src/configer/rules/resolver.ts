/** How this machine resolves names, for a sandbox that shall resolve them in the same way. */
import { existsSync } from 'node:fs';
import { inPlace, type Rule, type Want } from './rule.ts';

const FILES = ['resolv.conf', 'hosts', 'host.conf', 'gai.conf', 'services', 'protocols'].map((name) => `/etc/${name}`);

export const resolver: Rule = {
  name: 'resolver',
  wants: ({ base, declared }) =>
    FILES.filter((path) => existsSync(path) && declared.find(path, '/nonexistent') === undefined).map(
      (path): Want => ({
        as: 'file',
        place: inPlace(path),
        chain: [base.id, path],
        rule: 'resolver',
        by: 'dependencies.resolver',
      }),
    ),
};
