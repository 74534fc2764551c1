/** What a directory of certificates holds. */
import type { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ComicranError, messageOf } from '../base/errors.ts';
import { dnsNames, parseCertificate } from './identity.ts';

export type CertificateInfo = {
  /** `ca`, `sdn`, `smanager`, or a virtual machine's name. */
  readonly name: string;
  readonly file: string;
  readonly dnsNames: readonly string[];
  readonly validFrom: string;
  readonly validTo: string;
  readonly state: 'valid' | 'expired' | 'not yet valid' | 'of another authority';
};

function stateOf(certificate: X509Certificate, authority: X509Certificate, now: Date): CertificateInfo['state'] {
  if (!certificate.verify(authority.publicKey)) return 'of another authority';
  if (now > certificate.validToDate) return 'expired';
  return now < certificate.validFromDate ? 'not yet valid' : 'valid';
}

function certificateNames(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((file) => file.endsWith('.pem'))
      .map((file) => file.slice(0, -'.pem'.length))
      .toSorted((a, b) => Number(b === 'ca') - Number(a === 'ca') || a.localeCompare(b));
  } catch (cause) {
    throw new ComicranError('pki.invalid', `${directory} cannot be read: ${messageOf(cause)}`, {
      hint: "'comicran pki init DIRECTORY --vm NAME' makes certificates.",
      cause,
    });
  }
}

/** The certificates in a directory, the authority's first. @throws ComicranError pki.invalid */
export function listCertificates(directory: string, now = new Date()): CertificateInfo[] {
  const names = certificateNames(directory);
  if (names[0] !== 'ca') {
    throw new ComicranError('pki.invalid', `there is no ca.pem in ${directory}`, {
      hint: `'comicran pki init ${directory} --vm NAME' makes an authority and certificates.`,
    });
  }
  const certificates = names.map((name) => {
    const file = join(directory, `${name}.pem`);
    return { name, file, certificate: parseCertificate(readFileSync(file, 'utf8'), file) };
  });
  const authority = certificates[0]!.certificate;
  return certificates.map(({ name, file, certificate }) => ({
    name,
    file,
    dnsNames: dnsNames(certificate),
    validFrom: certificate.validFromDate.toISOString(),
    validTo: certificate.validToDate.toISOString(),
    state: stateOf(certificate, authority, now),
  }));
}
