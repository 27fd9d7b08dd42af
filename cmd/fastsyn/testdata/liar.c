// Preloaded into fastsyn, this makes a device lie: it gets another RSS key than the
// one that the driver writes, and reads back the one that was written. The tests
// of nic_test.go want to see the driver notice.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

#include <rte_ethdev.h>

static uint8_t told[64];
static uint8_t real[64];

int rte_eth_dev_configure(uint16_t port, uint16_t rx, uint16_t tx, const struct rte_eth_conf *conf)
{
	int (*next)(uint16_t, uint16_t, uint16_t, const struct rte_eth_conf *) = dlsym(RTLD_NEXT, "rte_eth_dev_configure");
	struct rte_eth_conf c = *conf;
	struct rte_eth_rss_conf *rss = &c.rx_adv_conf.rss_conf;
	if (rss->rss_key != NULL && rss->rss_key_len <= sizeof told) {
		memcpy(told, rss->rss_key, rss->rss_key_len);
		for (size_t i = 0; i < sizeof real; i++)
			real[i] = (uint8_t)(i * 151 + 89); // any other
		rss->rss_key = real;
	}
	return next(port, rx, tx, &c);
}

int rte_eth_dev_rss_hash_conf_get(uint16_t port, struct rte_eth_rss_conf *conf)
{
	int (*next)(uint16_t, struct rte_eth_rss_conf *) = dlsym(RTLD_NEXT, "rte_eth_dev_rss_hash_conf_get");
	int ret = next(port, conf);
	if (ret == 0 && conf->rss_key != NULL && conf->rss_key_len <= sizeof told)
		memcpy(conf->rss_key, told, conf->rss_key_len);
	return ret;
}
