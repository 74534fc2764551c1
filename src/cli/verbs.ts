import type { Command } from 'commander';

/** What a verb's file exports: it adds options, subcommands and the action to a command that has its name already. */
export type Verb = { readonly register: (command: Command) => void };

/** The verbs of `comicran`. A verb's file is loaded only when it is asked for, and loads what its action needs then. */
export const VERBS = {
  configer: { summary: 'resolve what a sandbox needs', load: (): Promise<Verb> => import('./verbs/configer.ts') },
  jailor: { summary: 'make a sandbox and run its process', load: (): Promise<Verb> => import('./verbs/jailor.ts') },
  sdaemon: { summary: 'the daemon of a virtual machine', load: (): Promise<Verb> => import('./verbs/sdaemon.ts') },
  smanager: { summary: 'control sandboxes on all machines', load: (): Promise<Verb> => import('./verbs/smanager.ts') },
  sdn: { summary: 'route requests to sandboxes', load: (): Promise<Verb> => import('./verbs/sdn.ts') },
  server: { summary: 'a UDP server that squares numbers', load: (): Promise<Verb> => import('./verbs/server.ts') },
  client: { summary: 'load a server and measure it', load: (): Promise<Verb> => import('./verbs/client.ts') },
  lab: { summary: 'two VMs, an SDN node and a client node here', load: (): Promise<Verb> => import('./verbs/lab.ts') },
  pki: { summary: 'certificates for the daemons', load: (): Promise<Verb> => import('./verbs/pki.ts') },
  demo: {
    summary: 'move a server under load and show the figures',
    load: (): Promise<Verb> => import('./verbs/demo.ts'),
  },
} as const;

export type VerbName = keyof typeof VERBS;
