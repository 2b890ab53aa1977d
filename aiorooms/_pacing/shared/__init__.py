"""Share one rate limit between processes and machines, through a store.

Without communicating, processes share a limit fairly (`sharing`), but each can only guess what the others send. Forty
clients on 100 requests per second get a fourth of their requests answered 429. With a store they know, and send as
one client would. What they know together is the *account* (`account`): what the server has reported, the permits that
are held, and the queue. It is the local pacing, with all held permits in place of the requests in flight.

| module | what it does | I/O |
|---|---|---|
| `account` | records what clients report, and leases permits to those that wait | no |
| `codec` | turns the state of the account into plain values, and back | no |
| `messages` | turns reports and notices into bytes, and back | no |
| `gate` | the permits of this client, and when its next exchange is due | no |
| `link` | the task that exchanges, and what happens if the store fails | yes |
| `store`, `redis_store` | what a store must do, and the one in Redis | yes |
| `takeover` | the first moments without the store | no |
| `settings` | `RedisPacing` | no |

The pacer asks the gate in place of what it has learned by itself. But it continues to learn from all answers. If the
store can't be used, it decides at once, and shares the limit as if there had never been a store.

Example: A and B update rooms, and share a limit of 100 requests per second. The store holds the account: 40 requests
remain until t = 8, A holds 10 permits, and B waits. At t = 7.2 A reports 10 answers and that its callers wait. A
calculates the new account, with 20 permits for B, which came first, and 20 for itself, stores it, and the store sends B
a notice. At t = 7.25 B has sent 20 requests without another exchange.
"""
