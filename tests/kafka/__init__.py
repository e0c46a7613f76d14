"""Real services for tests, bench and drills: Kafka brokers and what goes with them. `make kafka` fetches the jars.

    from tests.kafka.broker import Broker

    with Broker() as broker:                     # a process of its own, gone with this one whatever happens
        client = broker.client                   # tests.kafka.client.Kafka: topic(), produce(), read(), settings()
        topic = client.topic(partitions=4)
        client.produce(topic, [(b"key", b"value")])
        broker.kill(); broker.start()            # also stop, pause, resume, restart; .data and .log

In tests, the fixtures of tests/kafka/fixtures.py. One for a whole run, over all its workers: `kafka`, `kafka_secured`,
`kafka_tiered`, `connect`, `postgres`, `registry`. One for each worker, whole again after each test: `kafka_proxied`,
`kafka_cluster`. For one test: `start_broker`.

Beside `Broker`: cluster.Cluster, secured.SecuredBroker, tiered.TieredBroker, proxy.FaultProxy, postgres.PostgresServer,
connect.ConnectWorker, registry.RegistryServer.
"""
