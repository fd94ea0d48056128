"""The CDK app: one construct per capability, composed by two stacks."""
