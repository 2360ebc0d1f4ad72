/** Settings as they go to the server: without those that only this extension reads. */

export const SECTION = "codeprompt";
/** Read by the extension; the server would wonder at them. */
export const OWN = ["server", "python", "setup"] as const;
/** Which server is run depends on these. */
export const LOCATING = ["codeprompt.server", "codeprompt.python"] as const;

/** The section `codeprompt` without our own keys. */
export function forServer(section: unknown): unknown {
  if (typeof section !== "object" || section === null || Array.isArray(section)) return section;
  const own: readonly string[] = OWN;
  return Object.fromEntries(Object.entries(section).filter(([key]) => !own.includes(key)));
}
