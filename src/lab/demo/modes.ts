/** What the demonstration shows, in this order, as far as the daemons offer it. */
export const MODES = ['replicated', 'postcopy', 'precopy', 'stopcopy'] as const;
