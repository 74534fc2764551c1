/** The certificate authorities that this machine trusts, where OpenSSL, GnuTLS and others look for them. */
import { existsSync } from 'node:fs';
import { inPlace, type Rule, type Want } from './rule.ts';

const DIRECTORIES = ['/etc/ssl/certs', '/usr/share/ca-certificates'];
const FILES = ['/etc/ssl/openssl.cnf', '/usr/lib/ssl/openssl.cnf', '/usr/lib/ssl/cert.pem', '/usr/lib/ssl/certs'];

export const certificates: Rule = {
  name: 'certificates',
  wants({ base }) {
    const wanted = (as: 'file' | 'directory', path: string): Want => ({
      as,
      place: inPlace(path),
      chain: [base.id, path],
      rule: 'certificates',
      by: 'dependencies.certificates',
    });
    return [
      ...DIRECTORIES.filter((path) => existsSync(path)).map((path) => wanted('directory', path)),
      ...FILES.filter((path) => existsSync(path)).map((path) => wanted('file', path)),
    ];
  },
};
