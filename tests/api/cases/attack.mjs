// The short versions of the attacks of tests/reliability/attack.mjs: what does not depend on time.
import { define, eq } from '../lib.mjs';
import { ATTACKS, attack, canRun } from '../lib/attacks.mjs';
import { skip } from '../lib/assert.mjs';

const group = define('attack');
for (const [name, { title, needs }] of Object.entries(ATTACKS))
  group('better', name, `${title}: others are answered, limits hold, everything comes back`, async () => {
    if (!canRun(name)) skip(`this server has no ${needs}`);
    eq((await attack(name, 'short')).faults, []);
  }, { slow: true, timeout: 120 });
